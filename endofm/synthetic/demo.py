"""One longer synthetic recording for demonstrations: several scenes, a round image, a text panel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from endofm.progress import progress_bar
from endofm.synthetic.population import draw_clip, draw_patient
from endofm.synthetic.render import render_clip
from endofm.synthetic.specs import RenderConfig
from endofm.video.frames import UInt8Array
from endofm.video.writer import write_video

FPS = 12.5
_SCENES = ((0, True), (0, False), (1, True), (0, True))
"""Patient of each scene and whether a polyp comes into view; the first patient returns, to be recognised."""


def render_demo(path: str | Path, *, seconds: float = 24.0, width: int = 320, height: int = 256) -> Path:
    """Render a synthetic recording, the same at every call.

    Args:
        path: mp4 file to write.
        seconds: Length in seconds, shared by four scenes of two patients.
        width: Frame width in pixels.
        height: Frame height in pixels.

    Returns:
        The path.

    Raises:
        ConfigError: If the size is out of range.
    """
    frames_per_scene = max(round(seconds * FPS / len(_SCENES)), 1)
    config = RenderConfig(width=width, height=height, num_frames=frames_per_scene, fps=FPS, difficulty=0.2, seed=7)
    patients = {index: draw_patient(config.seed, index) for index, _ in _SCENES}

    def frames() -> Iterator[UInt8Array]:
        with progress_bar(total=len(_SCENES), description="Rendering", unit="scene") as bar:
            for number, (patient, has_polyp) in enumerate(_SCENES):
                spec = draw_clip(config, patients[patient], number, has_polyp=has_polyp)
                yield from render_clip(spec).frames
                bar.update(1)

    path = Path(path)
    write_video(path, frames(), FPS)
    return path
