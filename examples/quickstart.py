"""From a video to a saved feature file, and a first question to it: which moments look alike?

python examples/quickstart.py                  # the rendered procedure that is part of the package
python examples/quickstart.py procedure.mp4    # a recording of your own
"""

from __future__ import annotations

import sys
from pathlib import Path

import endofm


def main() -> None:
    """Embed a video, save the features, and print for every window the most similar one elsewhere in the video."""
    video = Path(sys.argv[1]) if len(sys.argv) > 1 else endofm.demo_video()
    model = endofm.EndoFM.from_pretrained("endofm-nano-4x96")
    print(f"{video.name} with {model.config.name}, a small model for trying things out")
    features = model.extract_features(video, window_seconds=2.0)

    path = features.save(Path("out") / f"{video.stem}.safetensors")
    print(f"{path}: {len(features)} windows x {features.embed_dim} numbers")

    # Neighbouring windows are alike anyway, so only those at least two windows away are compared.
    similarity = features.similarity()
    for window, row in enumerate(similarity):
        others = [other for other in range(len(features)) if abs(other - window) > 1]
        if others:
            best = max(others, key=lambda other: row[other])
            print(
                f"{features.start_seconds[window]:5.1f} s to {features.end_seconds[window]:5.1f} s   looks most like "
                f"{features.start_seconds[best]:5.1f} s (cosine {row[best]:.3f})"
            )


if __name__ == "__main__":
    main()
