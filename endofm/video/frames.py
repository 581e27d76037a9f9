"""Frames with their time stamps, and the protocol of every source of frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError

UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]

TIME_TOLERANCE = 1e-6
"""Seconds by which a frame may begin after a requested time and still be the frame on screen.

Times such as ``i / fps`` and time stamps in ticks of a container's clock differ in the last bits of a float; without
this tolerance, requesting the time of a frame would sometimes give the frame before. No container ticks this fast.
"""


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One decoded frame.

    Attributes:
        data: uint8 ``(height, width, 3)``, RGB, upright (rotation flags applied), full range.
        pts_seconds: Time at which the frame appears, in seconds after the first frame of the source.
        duration_seconds: Time for which it stays on screen, in seconds.
    """

    data: UInt8Array
    pts_seconds: float
    duration_seconds: float

    @property
    def picture(self) -> UInt8Array | CodedPicture:
        """The data, or the picture that they are computed from; a :class:`~endofm.transforms.Processor` takes both."""
        return self.data

    def __repr__(self) -> str:
        height, width = self.picture.shape[:2]
        times = f"at {self.pts_seconds:.3f} s for {self.duration_seconds:.3f} s"
        return f"{type(self).__name__}({width} x {height} {times})"


@dataclass(frozen=True, eq=False)
class CodedPicture:
    """An upright picture as the decoder gives it: in 8 bits, with one pair of chroma values for each 2 x 2 pixels.

    A clip needs few of its pixels; :mod:`endofm.transforms.picking` converts these alone.

    Attributes:
        planes: Luma ``(height, width)``, and the differences of blue and of red from it, of half that size, rounded up;
            uint8, views of the decoder's memory.
        matrix: Luma-chroma matrix in swscale's numbering.
        full_range: Whether luma fills 0 to 255.
        convert: Converts it to RGB.
    """

    planes: tuple[UInt8Array, UInt8Array, UInt8Array]
    matrix: int
    full_range: bool
    convert: Callable[[], UInt8Array]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.planes[0].shape
        return height, width

    @cached_property
    def rgb(self) -> UInt8Array:
        """All pixels, uint8 ``(height, width, 3)``, RGB, full range."""
        return self.convert()


class CodedFrame(Frame):
    """A frame that is converted to RGB when its data are read.

    Args:
        picture: The picture.
        pts_seconds: See :class:`~endofm.video.frames.Frame`.
        duration_seconds: See there.
    """

    _picture: CodedPicture

    def __init__(self, picture: CodedPicture, pts_seconds: float, duration_seconds: float) -> None:
        # The class is frozen; its own attribute `data` is a property here.
        for name, value in (
            ("_picture", picture),
            ("pts_seconds", pts_seconds),
            ("duration_seconds", duration_seconds),
        ):
            object.__setattr__(self, name, value)

    @property
    def picture(self) -> CodedPicture:
        """The picture as it is coded."""
        return self._picture

    @property
    def data(self) -> UInt8Array:
        """All pixels as RGB; converted when they are first asked for."""
        return self._picture.rgb

    def __reduce__(self) -> tuple[type[Frame], tuple[UInt8Array, float, float]]:
        # The decoder's memory stays in this process.
        return Frame, (self.data, self.pts_seconds, self.duration_seconds)


@dataclass(frozen=True, eq=False, repr=False)
class FrameBatch:
    """Frames of one source as one array.

    Attributes:
        data: uint8 ``(time, height, width, 3)``, RGB.
        pts_seconds: float64 ``(time,)``, seconds after the first frame of the source.
        duration_seconds: float64 ``(time,)``, seconds.
    """

    data: UInt8Array
    pts_seconds: Float64Array
    duration_seconds: Float64Array

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        height, width = self.data.shape[1:3]
        return f"FrameBatch({len(self)} frames of {width} x {height})"

    @classmethod
    def stack(cls, frames: Iterable[Frame]) -> FrameBatch:
        """Join frames of equal size; an empty iterable gives a batch of shape ``(0, 0, 0, 3)``."""
        items = list(frames)
        # np.stack refuses an empty list.
        data = np.stack([f.data for f in items]) if items else np.empty((0, 0, 0, 3), np.uint8)
        return cls(
            data,
            np.array([f.pts_seconds for f in items], np.float64),
            np.array([f.duration_seconds for f in items], np.float64),
        )


@dataclass(frozen=True)
class VideoMetadata:
    """Metadata of a source, known before decoding.

    Attributes:
        name: File name, or a description such as ``"array"``; for messages and outputs.
        width: Width in pixels of the frames that the source yields (after rotation).
        height: Height in pixels of those frames.
        average_fps: Mean frames per second, None if unknown.
        num_frames: Number of frames that the header states, or None. Unreliable: see
            :meth:`VideoSource.frame_times`.
        duration_seconds: Duration that the header states, or None; equally unreliable.
        codec: Short codec name (``"h264"``), or ``"raw"`` for arrays, ``"image"`` for images.
        container: Short container name (``"mov,mp4,m4a,3gp,3g2,mj2"``), empty for arrays and images.
        pixel_format: Pixel format of the codec (``"yuv420p10le"``), empty for arrays and images.
        rotation: Clockwise rotation in degrees that was applied to the decoded frames: 0, 90, 180 or 270.
        decoder: ``"pyav"``, ``"torchcodec on cuda:0"``; empty for arrays and images.
    """

    name: str
    width: int
    height: int
    average_fps: float | None
    num_frames: int | None
    duration_seconds: float | None
    codec: str
    container: str = ""
    pixel_format: str = ""
    rotation: int = 0
    decoder: str = ""

    def short(self) -> str:
        """Return name, size, codec and duration, for the ``repr`` of a source."""
        seconds = "" if self.duration_seconds is None else f", {self.duration_seconds:.1f} s"
        return f"{Path(self.name).name!r}, {self.width} x {self.height}, {self.codec}{seconds}"


class VideoSource(Protocol):
    """A source of frames: a video file, a folder of frames, an array, images.

    Times are seconds after the first frame of the source, so the first frame is always at 0.
    """

    @property
    def metadata(self) -> VideoMetadata:
        """Metadata, known before decoding."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Decoding problems so far, one sentence each; empty for an intact source."""

    def frame_times(self) -> Float64Array:
        """Return the exact times of all frames, ascending, float64 ``(num_frames,)``.

        For a file this reads (but does not decode) all packets once; the result is kept.
        """

    def end_seconds(self) -> float:
        """Return the time at which the last frame ends (last time + its duration), in seconds."""

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        """Yield for each requested time the frame on screen then: the last one that begins at or before it.

        Args:
            seconds: Ascending times; equal times give the same frame again. Consumed lazily, one at a time.

        Yields:
            One frame per requested time. Ends without a frame at the first time at or after the end of the source.

        Raises:
            InputError: If the times are not ascending.
            VideoError: If nothing at all can be decoded.
        """

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame in order of presentation."""

    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> VideoSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def ascending(seconds: Iterable[float]) -> Iterator[float]:
    """Yield requested times one by one as floats, after checking their order.

    Raises:
        InputError: If a time is negative, is not a finite number, or is smaller than the one before.
    """
    # A generator, so that times may be computed while the video is read.
    last = 0.0
    for position, value in enumerate(seconds):
        time = float(value)
        if not math.isfinite(time) or time < 0:
            raise InputError(f"times are seconds after the first frame, finite and >= 0; time {position} is {value!r}")
        if time < last:
            raise InputError(f"times must be ascending; time {position} is {time} s after one of {last} s")
        last = time
        yield time


def describe_video(source: VideoSource) -> dict[str, Any]:
    """Return the metadata for a provenance: without the folders of the path, which often name patients or people."""
    # The size identifies a file together with its name; a checksum would read hours of video.
    metadata, path = asdict(source.metadata), Path(source.metadata.name)
    size = path.stat().st_size if path.is_file() else None
    end = float(source.end_seconds())
    return {**metadata, "name": path.name, "size_bytes": size, "end_seconds": end}
