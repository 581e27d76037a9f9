"""The app as a Hugging Face Space: a library next to this file, or one of the packaged procedure.

``python app.py`` runs it here as well, at port 7860; ``HOST`` and ``PORT`` in the environment change that.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from endofm import FeatureLibrary, demo_video, load_encoder, open_video
from endofm.app.launch import run_app
from endofm.video.writer import write_video

HERE = Path(__file__).resolve().parent
LIBRARY, VIDEOS = HERE / "archive.lance", HERE / "videos"
WEIGHTS = "endofm-nano-4x96"
# Parts of the packaged procedure, seconds; each stands for a recording.
PARTS = {"whole": (0.0, 19.8), "beginning": (0.0, 9.0), "treatment": (6.0, 16.0), "end": (12.0, 19.8)}


def build_demo(folder: Path) -> tuple[Path, Path]:
    """Make recordings out of the packaged procedure, and a library of them; return the library and the videos."""
    videos, features = folder / "videos", folder / "features"
    features.mkdir(parents=True)
    videos.mkdir()
    encoder = load_encoder(WEIGHTS)
    with open_video(demo_video()) as source:
        for name, (start, end) in PARTS.items():
            frames = np.stack([frame.data for frame in source.sample(np.arange(start, end, 0.1).tolist())])
            # Cropped, so that the parts are not copies of each other.
            write_video(videos / f"{name}.mp4", frames if name == "whole" else frames[:, 16:, :-16], fps=10)
            embedded = encoder.extract_features(videos / f"{name}.mp4", window_seconds=1, progress=False)
            embedded.save(features / f"{name}.mp4.safetensors")
    library = FeatureLibrary(folder / "archive.lance")
    library.add(features, set="demo", progress=False)
    return library.folder, videos


def main() -> None:
    """Serve the library until the process ends."""
    with tempfile.TemporaryDirectory() as scratch:
        library, videos = (LIBRARY, VIDEOS) if LIBRARY.exists() else build_demo(Path(scratch))
        run_app(
            library,
            media=[videos],
            host=os.environ.get("HOST", "0.0.0.0"),
            port=int(os.environ.get("PORT", "7860")),
            keep_marks=False,
        )


if __name__ == "__main__":
    main()
