"""Real endoscopic recordings, where they are available."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.video.open import open_video

pytestmark = pytest.mark.media

# Width, height, frames per second and number of frames, from the notes that come with the clips.
_CLIPS = {
    "laparo_gallbladder.mp4": (1280, 720, 25, 250, "h264"),
    "laparo_dim.mp4": (960, 540, 25, 150, "h264"),
    "chole_tools_montage.gif": (748, 103, 100 / 7, 28, "gif"),
    "nasal_short_1080p.mp4": (1920, 1080, 30, 35, "h264"),
    "nasal_long_540p.mp4": (960, 540, 30, 260, "h264"),
    "phantom_bowel_robot.avi": (320, 240, 10, 50, "mjpeg"),
}


@pytest.mark.parametrize("name", _CLIPS)
def test_clip_decodes_as_its_notes_say(media_dir: Path, name: str) -> None:
    width, height, rate, count, codec = _CLIPS[name]
    with open_video(media_dir / "videos" / name) as video:
        metadata, times = video.metadata, video.frame_times()
        assert (metadata.width, metadata.height, metadata.codec) == (width, height, codec)
        assert metadata.average_fps == pytest.approx(rate, rel=0.01)
        kept = {0: None, count // 2: None, count - 1: None}
        stamps = []
        for position, frame in enumerate(video):
            stamps.append(frame.pts_seconds)
            if position in kept:
                kept[position] = frame.data  # type: ignore[assignment]
        assert stamps == times.tolist()
        assert len(stamps) == count
        assert video.end_seconds() == pytest.approx(count / rate, rel=0.03)  # Delays of the GIF vary.
        sampled = list(video.sample(float(times[position]) for position in kept))
        for frame, expected in zip(sampled, kept.values(), strict=True):
            assert np.array_equal(frame.data, expected)
        assert video.problems == ()


def test_folders_of_real_frames(media_dir: Path) -> None:
    folder = next((media_dir / "animated_stills").glob("*_masks"))
    with open_video(folder, fps=12) as video:
        assert len(list(video)) == 24
        assert video.end_seconds() == pytest.approx(2.0)
    with open_video(sorted((media_dir / "frames").glob("*.png"))) as video:
        assert {frame.data.shape for frame in video} == {(512, 256, 3)}
    photo = next((media_dir / "pairs" / "kvasir-seg" / "images").glob("*.jpg"))
    with open_video(photo) as video:
        assert np.array_equal(next(iter(video)).data, np.asarray(Image.open(photo).convert("RGB")))
