"""From a video file to a saved feature file, with a progress bar.

python examples/quickstart.py                  # on the demo video of the package
python examples/quickstart.py procedure.mp4    # on your own recording
"""

from __future__ import annotations

import sys
from pathlib import Path

from endofm import EndoFM, VideoFeatures, demo_video

WEIGHTS = "endofm-nano-4x96"


def main() -> None:
    if len(sys.argv) > 1:
        video = Path(sys.argv[1])
    else:
        video = demo_video()
        print(f"No video given, using the demo: {video}")

    model = EndoFM.from_pretrained(WEIGHTS)
    features = model.extract_features(video, window_seconds=2.0)
    print(features)

    path = features.save(Path("out") / f"{video.stem}.safetensors")
    again = VideoFeatures.load(path)
    print(f"saved to {path}: {again.embeddings.shape[0]} clips x {again.embeddings.shape[1]} numbers")
    for start, end, similarity in zip(again.start_seconds, again.end_seconds, again.similarity()[0], strict=True):
        print(f"  {start:6.2f} s to {end:6.2f} s   cosine to the first clip {similarity:+.3f}")


if __name__ == "__main__":
    main()
