"""Contents of a report: what is computed of one procedure, before anything is written as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from endofm.errors import InputError
from endofm.report.shots import MEDIUM, SMALL, Shot, encode_picture, take_pictures
from endofm.report.task_sections import FrameExaminer, TaskSection
from endofm.tasks.features.moments import NoveltyPeak, Segment
from endofm.tasks.features.results import VideoFeatures

if TYPE_CHECKING:
    from endofm.tasks.features.model import VideoEncoder
    from endofm.video.frames import VideoSource
    from endofm.visualize.token_pictures import TokenPicture

STRIP_SHOTS, KEY_FRAMES, PEAKS, VIEWED_FRAMES = 16, 12, 16, 4
"""Numbers of thumbnails of the timeline, of key frames, of marked peaks, of frames with attention and components."""

_MOST_FRAMES_LOOKED_AT = 720


@dataclass(frozen=True)
class Sight:
    """One frame, and what the encoder makes of it.

    Attributes:
        shot: The frame.
        attention: InlinePicture of the attention; None where the encoder has none.
        components: InlinePicture of the principal components of its patches.
    """

    shot: Shot
    attention: Shot | None
    components: Shot


@dataclass(frozen=True, kw_only=True)
class ProcedureReport:
    """Everything that the report of one procedure shows.

    Attributes:
        name: Name of the video, without folders.
        features: Its features.
        strip: Thumbnails along the timeline.
        segments: Its parts, each with a frame of its middle.
        peaks: Moments at which it changes, each with the frame after the change.
        key_frames: Frames that show all of it.
        sections: Results of task models.
        sights: What the encoder makes of some frames.
        problems: What could not be read.
    """

    name: str
    features: VideoFeatures
    strip: tuple[Shot, ...]
    segments: tuple[tuple[Segment, Shot], ...]
    peaks: tuple[tuple[NoveltyPeak, Shot], ...]
    key_frames: tuple[Shot, ...]
    sections: tuple[TaskSection, ...]
    sights: tuple[Sight, ...]
    problems: tuple[str, ...]

    @property
    def end_seconds(self) -> float:
        """End of the last clip."""
        return float(self.features.end_seconds[-1])


def build_report(
    features: VideoFeatures,
    source: VideoSource | None,
    *,
    name: str,
    encoder: VideoEncoder | None = None,
    examiners: Sequence[FrameExaminer] = (),
    sections: Sequence[TaskSection] = (),
) -> ProcedureReport:
    """Collect the contents of a report.

    Args:
        features: Features of the video, at least one clip.
        source: The open video; without it the report has no pictures.
        name: Name of the video.
        encoder: The encoder of the features, for pictures of attention and components; None for none.
        examiners: Tasks that look at one frame of every clip.
        sections: Results of tasks that are known already.

    Raises:
        InputError: If there are no clips.
        MissingExtraError: If a package of the extra ``report`` is not installed.
        VideoError: If the video cannot be read.
    """
    if not len(features):
        raise InputError(f"{name}: there are no clips to report")
    end = float(features.end_seconds[-1])
    first = float(features.start_seconds[0])
    segments, peaks = features.segments(), features.novelty_peaks(PEAKS)
    strip = [first + (end - first) * (number + 0.5) / STRIP_SHOTS for number in range(STRIP_SHOTS)]
    middles = [(segment.start_seconds + segment.end_seconds) / 2 for segment in segments]
    keys = features.key_frames(KEY_FRAMES)
    wanted = [
        *((seconds, SMALL) for seconds in [*strip, *middles, *(peak.seconds for peak in peaks)]),
        *((frame.seconds, MEDIUM) for frame in keys),
    ]
    pictures = take_pictures(source, wanted) if source is not None else {}
    sights: tuple[Sight, ...] = ()
    if source is not None:
        _look(source, features, examiners)
        # The frames that stand for most of the procedure.
        shown = sorted(sorted(keys, key=lambda frame: -frame.share)[:VIEWED_FRAMES])
        sights = _sights(encoder, source, features, [frame.seconds for frame in shown]) if encoder is not None else ()

    def shot(seconds: float, width: int = SMALL, note: str = "") -> Shot:
        return Shot(seconds, pictures.get((seconds, width)), note)

    problems = [*features.problems, *(source.problems if source is not None else ())]
    return ProcedureReport(
        name=name,
        features=features,
        strip=tuple(shot(seconds) for seconds in strip) if source is not None else (),
        segments=tuple((segment, shot(middle)) for segment, middle in zip(segments, middles, strict=True)),
        peaks=tuple((peak, shot(peak.seconds)) for peak in peaks),
        key_frames=tuple(
            shot(frame.seconds, MEDIUM, f"stands for {frame.share:.0%} of the procedure") for frame in keys
        ),
        sections=(*sections, *(examiner.section() for examiner in examiners)),
        sights=sights,
        problems=tuple(dict.fromkeys(problems)),
    )


def _look(source: VideoSource, features: VideoFeatures, examiners: Sequence[FrameExaminer]) -> None:
    """Show every examiner the middle frame of every clip, or of every n-th in long videos of dense windows."""
    if not examiners:
        return
    step = -(-len(features) // _MOST_FRAMES_LOOKED_AT)
    starts = features.start_seconds[::step]
    ends = np.append(starts[1:], features.end_seconds[-1])
    times = ((starts + ends) / 2).tolist()
    for start, end, frame in zip(starts.tolist(), ends.tolist(), source.sample(times), strict=False):
        for examiner in examiners:
            examiner.look(frame, start, end)


def _sights(
    encoder: VideoEncoder, source: VideoSource, features: VideoFeatures, seconds: list[float]
) -> tuple[Sight, ...]:
    from endofm.visualize.token_pictures import attention_pictures, pca_pictures

    window = (features.provenance.get("windows") or {}).get("window_seconds")
    options: dict[str, Any] = {"window_seconds": window}
    components = pca_pictures(encoder, source, seconds, **options)
    has_attention = hasattr(encoder, "get_last_attention")
    attention: Sequence[TokenPicture | None] = (
        attention_pictures(encoder, source, seconds, **options) if has_attention else [None] * len(components)
    )
    return tuple(
        Sight(
            Shot(one.seconds, encode_picture(one.frame, MEDIUM)),
            Shot(one.seconds, encode_picture(looked.picture, MEDIUM)) if looked is not None else None,
            Shot(one.seconds, encode_picture(one.picture, MEDIUM)),
        )
        for one, looked in zip(components, attention, strict=True)
    )
