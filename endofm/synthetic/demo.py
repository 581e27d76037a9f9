"""The demo video of the package: one short procedure on a synthetic patient, in six scenes.

``python -m endofm.synthetic.demo endofm/demo/procedure.mp4`` renders the file that :func:`endofm.demo_video` returns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from endofm.progress import progress_bar
from endofm.synthetic.population import draw_clip, draw_patient
from endofm.synthetic.render import render_clip
from endofm.synthetic.specs import NOTICE, ArtefactSpec, ClipSpec, InstrumentSpec, PatientSpec, RenderConfig
from endofm.video.frames import UInt8Array
from endofm.video.writer import write_video

FPS = 10.0
_SEED, _PATIENT, _POLYP_CLIP, _LUMEN_CLIP = 7, 4, 1, 3

# Less quality than a data set gets, for a file of some 200 kB. H.264 in 4:2:0 is what every player decodes.
_ENCODING = {"crf": "29", "preset": "veryslow", "x264-params": "threads=1:cpu-independent=1"}


def demo_scenes(*, seconds: float = 20.0, width: int = 256, height: int = 208) -> list[ClipSpec]:
    """Return the scenes: lumen, polyp, snare, bleeding, rinsing, and the lumen again.

    The polyp, its removal and the bleeding share one camera path, so that neighbouring scenes resemble one another;
    the first and the last scene show the same stretch of bowel, which a similarity matrix recognises.

    Args:
        seconds: Length in seconds, divided equally among the scenes.
        width: Frame width in pixels.
        height: Frame height in pixels.

    Raises:
        ConfigError: If the size or the length is out of range.
    """
    num_scenes = 6
    num_frames = max(round(seconds * FPS / num_scenes), 1)
    config = RenderConfig(width=width, height=height, num_frames=num_frames, fps=FPS, difficulty=0.1, seed=_SEED)
    patient = _quiet(draw_patient(_SEED, _PATIENT))
    polyp = draw_clip(config, patient, _POLYP_CLIP, has_polyp=True)
    # In view throughout, and steadily: the drawn window would turn the camera away at its ends.
    polyp = replace(polyp, camera=replace(polyp.camera, aim_window=(0.0, 1.0), aim=0.8), artefacts=_clean(polyp))
    lumen = draw_clip(config, patient, _LUMEN_CLIP, has_polyp=False)
    lumen = replace(lumen, artefacts=_clean(lumen))
    snare = InstrumentSpec(kind="snare", angle=0.8, reach=0.6, enter=-0.05, opening=0.8, colour=(0.10, 0.24, 0.50))
    return [
        lumen,
        polyp,
        replace(polyp, artefacts=replace(polyp.artefacts, instrument=snare)),
        replace(polyp, lesion=None, artefacts=replace(polyp.artefacts, bleeding=1.0)),
        replace(polyp, lesion=None, artefacts=replace(polyp.artefacts, defocus=9.0, lens_drops=3, floating_bubbles=8)),
        lumen,
    ]


def render_demo(path: str | Path, scenes: Sequence[ClipSpec] | None = None) -> Path:
    """Render the demo video, the same at every call.

    Args:
        path: mp4 file to write.
        scenes: Scenes in order; those of :func:`demo_scenes` by default.

    Returns:
        The path.
    """
    scenes = demo_scenes() if scenes is None else scenes

    def frames() -> Iterator[UInt8Array]:
        with progress_bar(total=len(scenes), description="Rendering", unit="scene") as bar:
            for scene in scenes:
                yield from render_clip(scene).frames
                bar.update(1)

    path = Path(path)
    write_video(path, frames(), FPS, codec="libx264", options=_ENCODING, comment=NOTICE)
    return path


def _quiet(patient: PatientSpec) -> PatientSpec:
    """Return a patient whose scope has little noise, which would otherwise fill most of the file."""
    return replace(patient, scope=replace(patient.scope, noise=0.6, colour_lag=0.0))


def _clean(clip: ClipSpec) -> ArtefactSpec:
    """Return the artefacts of a clip without any of the occasional ones."""
    return replace(
        clip.artefacts,
        motion_blur=0.01,
        defocus=0.0,
        dimming=0.0,
        lens_drops=0,
        floating_bubbles=0,
        bleeding=0.0,
        instrument=None,
    )


if __name__ == "__main__":
    render_demo(sys.argv[1])
