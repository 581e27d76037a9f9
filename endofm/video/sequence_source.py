"""Frames that exist one by one: arrays, images in memory, image files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType

import numpy as np

from endofm.errors import InputError
from endofm.video.frames import Float64Array, Frame, UInt8Array, VideoMetadata
from endofm.video.times import TIME_TOLERANCE, ascending

DEFAULT_FPS = 30.0
"""Nominal rate of frames that come without times of their own, in frames per second."""


class SequenceSource:
    """Frames that can be reached in any order, at a nominal constant rate.

    Args:
        load: Returns frame ``i`` as uint8 ``(height, width, 3)`` RGB; raises VideoError if it cannot be read.
        count: Number of frames, >= 1.
        name: For messages and outputs.
        size: Height and width in pixels.
        fps: Nominal rate in frames per second.
        codec: ``"raw"`` or ``"image"``.
    """

    def __init__(
        self,
        load: Callable[[int], UInt8Array],
        count: int,
        *,
        name: str,
        size: tuple[int, int],
        fps: float | None,
        codec: str,
    ) -> None:
        rate = DEFAULT_FPS if fps is None else float(fps)
        if not 0 < rate < float("inf"):
            raise InputError(f"fps must be a number > 0, got {fps!r}")
        self._load, self._count, self._fps = load, count, rate
        self._metadata = VideoMetadata(
            name=name,
            width=size[1],
            height=size[0],
            average_fps=rate,
            num_frames=count,
            duration_seconds=count / rate,
            codec=codec,
        )
        self._times = np.arange(count) / rate

    @property
    def metadata(self) -> VideoMetadata:
        """What is known of the frames."""
        return self._metadata

    @property
    def problems(self) -> tuple[str, ...]:
        """Which frames could not be read."""
        return ()

    def frame_times(self) -> Float64Array:
        """Return the nominal times, float64 ``(num_frames,)``, seconds."""
        return self._times

    def end_seconds(self) -> float:
        """Return the time at which the last frame ends, in seconds."""
        return self._count / self._fps

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        """Yield for each asked time the frame on screen then; see :class:`~endofm.video.frames.VideoSource`."""
        last: tuple[int, Frame] | None = None
        for time in ascending(seconds):
            if time + TIME_TOLERANCE >= self.end_seconds():
                return
            index = int(np.searchsorted(self._times, time + TIME_TOLERANCE, side="right")) - 1
            if last is None or last[0] != index:
                last = index, self._frame(index)
            yield last[1]

    def _frame(self, index: int) -> Frame:
        return Frame(self._load(index), float(self._times[index]), 1 / self._fps)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame in order."""
        for index in range(self._count):
            yield self._frame(index)

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> SequenceSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def array_source(array: UInt8Array, *, name: str, fps: float | None) -> SequenceSource:
    """Return a source over uint8 ``(time, height, width, 3)`` or one frame ``(height, width, 3)``."""
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(
            f"{name}: expected uint8 frames of shape (time, height, width, 3), got {array.dtype} {array.shape}"
        )
    frames: Sequence[UInt8Array] = array if array.ndim == 4 else array[None]  # type: ignore[assignment]
    size = (array.shape[-3], array.shape[-2])
    return SequenceSource(
        lambda i: np.ascontiguousarray(frames[i]), len(frames), name=name, size=size, fps=fps, codec="raw"
    )
