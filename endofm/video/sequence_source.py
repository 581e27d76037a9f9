"""Sources of separate frames, in memory or as image files, at a nominal constant rate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from endofm.errors import InputError, VideoError
from endofm.video.frames import TIME_TOLERANCE, Float64Array, Frame, UInt8Array, VideoMetadata, ascending

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_FPS = 30.0
"""Nominal rate of frames that have no times of their own, in frames per second."""


class SequenceSource:
    """Frames with random access.

    Args:
        load: Returns frame ``i`` as uint8 ``(height, width, 3)`` RGB; raises VideoError if it cannot be read.
        count: Number of frames, >= 1.
        name: Name for messages and outputs.
        size: Height and width in pixels.
        fps: Nominal rate in frames per second; None takes :data:`DEFAULT_FPS`.
        codec: ``"raw"``, ``"image"`` or ``"dicom"``.
        times: Times of the frames and the end, float64 ``(count + 1,)`` seconds, instead of a constant rate.
        notes: Problems that are known already, sentences.
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
        times: Float64Array | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        rate = DEFAULT_FPS if fps is None else float(fps)
        steps: Float64Array = np.full(count, 1 / rate) if times is None else np.diff(times)
        if times is None:
            times = np.arange(count + 1) / rate
        else:
            rate = count / float(times[-1])
        self._load, self._notes = load, notes
        self._metadata = VideoMetadata(
            name=name,
            width=size[1],
            height=size[0],
            average_fps=rate,
            num_frames=count,
            duration_seconds=float(times[-1]),
            codec=codec,
        )
        self._times: Float64Array = times[:-1]
        self._durations = steps
        self._end = float(times[-1])
        self._unreadable: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._metadata.short()})"

    @property
    def metadata(self) -> VideoMetadata:
        """Metadata of the frames."""
        return self._metadata

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems, and frames that could not be read so far, one sentence each."""
        return (*self._notes, *(self._unreadable[index] for index in sorted(self._unreadable)))

    def frame_times(self) -> Float64Array:
        """Return the nominal times of all frames, float64 ``(num_frames,)``, seconds."""
        return self._times

    def end_seconds(self) -> float:
        """Return the time at which the last frame ends, in seconds."""
        return self._end

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        """Yield for each requested time the frame on screen then; see :class:`~endofm.video.frames.VideoSource`.

        An unreadable frame is replaced by the last readable one before it, or else by the next after it.
        Equal times yield the same object.
        """
        last: tuple[int, Frame] | None = None
        for time in ascending(seconds):
            if time + TIME_TOLERANCE >= self._end:
                return
            index = int(np.searchsorted(self._times, time + TIME_TOLERANCE, side="right")) - 1
            if last is None or last[0] != index:
                last = index, self._nearest(index)
            yield last[1]

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame that can be read, in order."""
        any_read = False
        for index in range(len(self._times)):
            frame = self._frame(index)
            if frame is not None:
                any_read = True
                yield frame
        if not any_read:
            raise self._nothing()

    def _frame(self, index: int) -> Frame | None:
        try:
            data = self._load(index)
        except VideoError as error:
            self._unreadable[index] = str(error)
            return None
        return Frame(data, float(self._times[index]), float(self._durations[index]))

    def _nearest(self, index: int) -> Frame:
        # As a viewer would see it: the last good frame stays on screen.
        for candidate in (*range(index, -1, -1), *range(index + 1, len(self._times))):
            frame = self._frame(candidate)
            if frame is not None:
                return frame
        raise self._nothing()

    def _nothing(self) -> VideoError:
        first = self._unreadable[min(self._unreadable)]
        return VideoError(f"{self._metadata.name}: none of the frames can be read; the first: {first}")

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def __enter__(self) -> SequenceSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_array(array: np.ndarray[Any, Any], name: str, dimensions: tuple[int, ...]) -> None:
    if array.dtype == np.uint8 and array.ndim in dimensions and array.shape[-1] == 3 and 0 not in array.shape:
        return
    # Four axes with three or four in the second, or three axes with three in the first, are channels first.
    channels_first = (array.ndim == 4 and array.shape[1] in (3, 4)) or (array.ndim == 3 and array.shape[0] == 3)
    shapes = {4: "(time, height, width, 3)", 3: "(height, width, 3)"}
    hint = ""
    # The likeliest mistake decides the hint.
    if array.dtype.kind == "f":
        hint = "; values in [0, 1] become uint8 by (frames * 255).round().astype('uint8')"
    elif array.dtype != np.uint8:
        hint = "; convert it to 8 bits per channel"
    elif 0 in array.shape:
        hint = "; it holds no pixels"
    elif array.ndim not in (2, 3, 4):
        hint = "; the frames of one video are one array"
    elif channels_first and array.shape[-1] not in (3, 4):
        hint = "; channels are the last axis: np.moveaxis(frames, -3, -1)"
    elif array.shape[-1] == 4:
        hint = "; leave out the alpha channel with frames[..., :3]"
    else:
        hint = "; grey frames become RGB by np.repeat(frames[..., None], 3, axis=-1)"
    expected = " or ".join(shapes[d] for d in dimensions)
    raise InputError(f"{name}: expected uint8 RGB frames {expected}, got {array.dtype} {array.shape}{hint}")


def array_source(array: np.ndarray[Any, Any], *, name: str, fps: float | None) -> SequenceSource:
    """Return a source over uint8 ``(time, height, width, 3)`` or one frame ``(height, width, 3)``, without a copy.

    Raises:
        InputError: If the array has another type or shape.
    """
    _check_array(array, name, (4, 3))
    frames = array if array.ndim == 4 else array[None]
    size = frames.shape[1], frames.shape[2]
    return SequenceSource(
        lambda i: np.ascontiguousarray(frames[i]), len(frames), name=name, size=size, fps=fps, codec="raw"
    )


def item_source(items: Sequence[Any], *, name: str, fps: float | None) -> SequenceSource:
    """Return a source over PIL images, arrays ``(height, width, 3)`` or paths of image files, one frame each.

    Raises:
        InputError: If an item is something else, or there is none.
        VideoError: If the sizes differ, or none of the files is an image.
    """
    from PIL.Image import Image

    from endofm.video.images import image_to_rgb, open_image, upright_size

    def label(index: int) -> str:
        item = items[index]
        return str(item) if isinstance(item, (str, os.PathLike)) else f"{name}: frame {index}"

    def size_of(index: int) -> tuple[int, int]:
        item = items[index]
        if isinstance(item, np.ndarray):
            _check_array(item, label(index), (3,))
            return item.shape[0], item.shape[1]
        if isinstance(item, Image):
            return upright_size(item)
        if isinstance(item, (str, os.PathLike)):
            with open_image(Path(item)) as image:
                return upright_size(image)
        raise InputError(
            f"{label(index)}: expected a PIL image, an array (height, width, 3) or a path, got {type(item).__name__}"
        )

    def load(index: int) -> UInt8Array:
        item = items[index]
        if isinstance(item, np.ndarray):
            return np.ascontiguousarray(item)
        if isinstance(item, Image):
            return image_to_rgb(item, label(index))
        with open_image(Path(item)) as image:
            return image_to_rgb(image, str(item))

    if not items:
        raise InputError(f"{name}: there are no frames in it")
    # Only headers are read: sizes must agree before the first frame is requested.
    first: tuple[int, tuple[int, int]] | None = None
    problem: VideoError | None = None
    for index in range(len(items)):
        try:
            size = size_of(index)
        except VideoError as error:
            # A file that is not an image is left out here, and reported when its frame is requested.
            problem = problem or error
            continue
        first = first or (index, size)
        if size != first[1]:
            raise VideoError(
                f"{label(index)} is {size[1]} x {size[0]} pixels, but {label(first[0])} is {first[1][1]} x "
                f"{first[1][0]}; the frames of one video must have one size"
            )
    if first is None:
        assert problem is not None
        raise VideoError(f"{name}: none of the frames can be read; the first: {problem}") from problem
    codec = "raw" if all(isinstance(item, np.ndarray) for item in items) else "image"
    return SequenceSource(load, len(items), name=name, size=first[1], fps=fps, codec=codec)


def image_file_source(reopen: Callable[[], Image], *, name: str, fps: float | None) -> SequenceSource | None:
    """Return a source over one image file; of a TIFF, every page is a frame.

    Args:
        reopen: Opens the file again.
        name: Name for messages.
        fps: Nominal rate in frames per second.

    Returns:
        The source; None for an animated PNG, which has times of its own and is read as a video.

    Raises:
        VideoError: If it is not an image, or an animated one that cannot be read with its times.
    """
    from endofm.video.images import image_to_rgb, upright_size

    with reopen() as image:
        size = upright_size(image)
        # The further images of an MPO file are previews, or the other eye of a stereo camera.
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        if pages > 1 and image.format == "PNG":
            return None
        if pages > 1 and image.format != "TIFF":
            raise VideoError(f"{name}: an animated {image.format} is not read; convert it to GIF or MP4")

    def load(index: int) -> UInt8Array:
        label = f"{name}: page {index}" if pages > 1 else name
        with reopen() as image:
            image.seek(index)
            frame = image_to_rgb(image, label)
        if frame.shape[:2] != size:
            raise VideoError(f"{label} has another size than the first page")
        return frame

    return SequenceSource(load, pages, name=name, size=size, fps=fps, codec="image")
