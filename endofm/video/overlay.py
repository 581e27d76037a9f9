"""Overlay videos: decode, draw, encode, frame by frame, with the times and the sound of the source. Stills as PNG."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.packet import Packet
from av.video.stream import VideoStream
from PIL import Image

from endofm.errors import InputError, VideoError
from endofm.files import atomic_path
from endofm.progress import Progress, progress_bar
from endofm.video.file_source import FileSource
from endofm.video.frames import Frame, UInt8Array, VideoSource
from endofm.video.sound import Sound
from endofm.video.writer import BT601, CODECS, choose_codec

# The time base of MPEG-4 part 2 is a 16-bit field (vop_time_increment_resolution).
_LARGEST_MPEG4_DENOMINATOR = 65535


@dataclass(frozen=True)
class OverlayReport:
    """Outcome of writing an overlay video.

    Attributes:
        frames: Number of frames written.
        sound_tracks: Number of sound tracks written.
        problems: Frames and sound that could not be read or written, one sentence each.
    """

    frames: int
    sound_tracks: int
    problems: tuple[str, ...]


def paint_video(
    source: VideoSource,
    target: str | Path,
    draw: Callable[[Frame], UInt8Array],
    *,
    sound: bool = True,
    progress: Progress = True,
) -> OverlayReport:
    """Write a video whose frames are those of a source, drawn on.

    Every frame that can be decoded is drawn on and keeps its time, even at a variable frame rate. The sound of a video
    file is copied packet by packet (re-encoded as AAC where mp4 cannot hold its codec). One frame is held at a time,
    however long the video is. The file appears under its name only when it is complete: after an error, Ctrl-C or a
    kill, an earlier file is still there.

    Args:
        source: Open video; read from its beginning.
        target: File to create or replace, with the suffix ``.mp4``, or ``.png`` for a source of a single frame.
        draw: Maps a frame to its picture, uint8 of the same shape ``(height, width, 3)``; called once per
            frame, in order. It must not change the frame's own array.
        sound: Write the sound, too.
        progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

    Returns:
        Counts of what was written, and problems.

    Raises:
        InputError: If the suffix is another one, the target is the source, a ``.png`` is to hold several frames, or
            ``draw`` returns anything but a picture.
        VideoError: If the source cannot be decoded or the encoder fails.

    Example:
        >>> from endofm.video.open import open_video
        >>> with open_video("procedure.mp4") as video:  # doctest: +SKIP
        ...     paint_video(video, "negative.mp4", lambda frame: 255 - frame.data)
    """
    target = Path(target)
    if target.suffix.lower() not in (".mp4", ".png"):
        raise InputError(
            f"{target}: videos are written as .mp4, and single pictures as .png, got the suffix {target.suffix!r}"
        )
    if Path(source.metadata.name).exists() and target.exists() and target.samefile(source.metadata.name):
        raise InputError(f"{target}: this is the video itself; choose another name for the painted one")
    if target.suffix.lower() == ".png":
        return _paint_still(source, target, draw)
    codec = choose_codec()
    with atomic_path(target) as temporary:
        try:
            return _encode(source, temporary, target, draw, codec, sound=sound, progress=progress)
        except av.FFmpegError as error:
            raise VideoError(f"{target}: encoding with {codec} failed ({error})") from error


def _paint_still(source: VideoSource, target: Path, draw: Callable[[Frame], UInt8Array]) -> OverlayReport:
    count = len(source.frame_times())
    if count != 1:
        raise InputError(f"{target}: a .png holds a single picture, and {source.metadata.name} has {count}; use .mp4")
    for frame in source:
        with atomic_path(target) as temporary:
            Image.fromarray(_checked(draw(frame), frame, target)).save(temporary, "PNG")
        return OverlayReport(1, 0, source.problems)
    raise VideoError(f"{source.metadata.name}: this picture could not be decoded")


def _encode(
    source: VideoSource,
    temporary: Path,
    target: Path,
    draw: Callable[[Frame], UInt8Array],
    codec: str,
    *,
    sound: bool,
    progress: Progress,
) -> OverlayReport:
    metadata = source.metadata
    problems: list[str] = []
    tick = _tick(source, codec)
    with av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # The rate is only a hint; frames have the times of the source, in its own ticks.
        stream = container.add_stream(codec, rate=_nominal_rate(source), options=CODECS[codec])
        context = stream.codec_context
        context.width, context.height = metadata.width + metadata.width % 2, metadata.height + metadata.height % 2
        context.pix_fmt, context.time_base, context.thread_count = "yuv420p", tick, 1
        context.flags |= Flags.bitexact
        context.colorspace = context.color_primaries = context.color_trc = BT601
        has_sound = sound and isinstance(source, FileSource)
        count, last = 0, -1
        durations: dict[int, int] = {}
        with (
            _sound(source, container, problems) if has_sound else nullcontext() as carried,
            progress_bar(
                total=len(source.frame_times()),
                description=Path(metadata.name).name,
                unit="frame",
                progress=progress,
            ) as bar,
        ):
            for frame in source:
                picture = av.VideoFrame.from_ndarray(_even(_checked(draw(frame), frame, target)), format="rgb24")
                # Damaged files may hold several frames with one time; mp4 needs strictly increasing times.
                last = max(round(frame.pts_seconds / tick), last + 1)
                picture.pts, picture.time_base = last, tick
                durations[last] = max(1, round(frame.duration_seconds / tick))
                if carried is not None:
                    carried.write_until(frame.pts_seconds)
                container.mux(_lasting(stream.encode(picture), durations))
                count += 1
                bar.update(1)
            container.mux(_lasting(stream.encode(None), durations))
            if carried is not None:
                carried.finish()
    if not count:
        raise VideoError(f"{metadata.name}: no frame of this video could be decoded")
    tracks = carried.tracks if carried is not None else 0
    return OverlayReport(count, tracks, (*source.problems, *problems))


def _lasting(packets: list[Packet[VideoStream]], durations: dict[int, int]) -> list[Packet[VideoStream]]:
    """Set the durations of packets, which encoders drop; it only matters for the last frame."""
    for packet in packets:
        packet.duration = durations.pop(packet.pts if packet.pts is not None else -1, packet.duration or 0)
    return packets


def _sound(source: VideoSource, container: av.container.OutputContainer, problems: list[str]) -> Sound:
    assert isinstance(source, FileSource)

    def note(sentence: str) -> None:
        if sentence not in problems:
            problems.append(sentence)

    return Sound(source.medium, container, source.start_seconds, note)


def _nominal_rate(source: VideoSource) -> Fraction:
    return Fraction(source.metadata.average_fps or 25).limit_denominator(1001)


def _tick(source: VideoSource, codec: str) -> Fraction:
    """Return a time base in which the source's times are integers."""
    tick = source.tick if isinstance(source, FileSource) else 1 / _nominal_rate(source)
    if codec == "mpeg4" and tick.denominator > _LARGEST_MPEG4_DENOMINATOR:
        return Fraction(1, _LARGEST_MPEG4_DENOMINATOR)
    return tick


def _checked(picture: object, frame: Frame, target: Path) -> UInt8Array:
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape != frame.data.shape:
        what = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise InputError(
            f"{target}: the drawn frame at {frame.pts_seconds:.3f} s must be uint8 {frame.data.shape}, got {what}"
        )
    return picture


def _even(picture: UInt8Array) -> UInt8Array:
    """Make odd sides even by repeating the last row or column, since 4:2:0 has no odd sizes."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(picture)
