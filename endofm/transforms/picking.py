"""The pixels that a resized picture is computed from, and their bilinear mean.

They are selected as bytes before anything is computed. Of a coded picture they are converted to RGB alone, by a C
kernel: a clip needs a tenth of the pixels of a 1080p picture. It gives the bytes that libswscale makes of the whole
picture; whether it does is tried once for every width, matrix and range.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from endofm.kernels.native import load_library
from endofm.transforms.geometry import Box
from endofm.video.frames import CodedPicture

_SHARES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Shares of red and blue in luma, by the matrix in swscale's numbering (ITU-T H.273, table 4)."""

_TRIED_ROWS = 16


@dataclass(frozen=True)
class Sampling:
    """Neighbours of the pixels of a resized picture, and their weights.

    Attributes:
        rows: Upper, then lower neighbours of the resized rows.
        columns: Left, then right neighbours of the resized columns.
        down: Weight of each lower neighbour.
        across: Weight of each right neighbour.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    down: npt.NDArray[np.float32]
    across: npt.NDArray[np.float32]

    @classmethod
    def plan(cls, source: tuple[int, int], target: tuple[int, int], window: Box) -> Sampling:
        """Return the neighbours for a window of the target; sizes are height and width."""
        above, below, down = _neighbours(source[0], target[0], window.top, window.bottom)
        left, right, across = _neighbours(source[1], target[1], window.left, window.right)
        return cls(np.concatenate([above, below]), np.concatenate([left, right]), down, across)

    def blend(self, picked: torch.Tensor) -> torch.Tensor:
        """Interpolate picked pixels ``(frames, rows, channels, columns)``, which are overwritten.

        Returns:
            ``(frames, height, width, channels)``.
        """
        # Rows first, then columns: a bilinear mean is separable.
        down, across = (torch.from_numpy(weights).to(picked.device) for weights in (self.down, self.across))
        upper, lower = picked.chunk(2, dim=1)
        first, second = upper.lerp_(lower, down.view(-1, 1, 1)).chunk(2, dim=3)
        return first.lerp(second, across).movedim(2, 3)


def _neighbours(
    source: int, target: int, begin: int, stop: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return, for positions ``begin .. stop - 1`` of a resized axis, the two source indices and the second's weight."""
    # A pixel is a unit interval with its centre at i + 0.5, and both images span the same interval, so the centre of
    # target pixel i lies at source coordinate (i + 0.5) * source / target, that is, at position ... - 0.5 between
    # source pixels. Positions before the first or after the last centre take the border pixel.
    # Scale and position are each rounded to float32 once, as by the fused multiply-add of the published
    # ``torch.nn.functional.interpolate``; on a wide frame this is most of the difference that would otherwise remain.
    scale = np.float64(np.float32(source) / np.float32(target))
    position = np.maximum(scale * (np.arange(begin, stop) + 0.5) - 0.5, 0).astype(np.float32)
    first = np.minimum(position.astype(np.int64), source - 1)
    return first, np.minimum(first + 1, source - 1), position - first.astype(np.float32)


def pick_pixels(frames: torch.Tensor, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> torch.Tensor:
    """Select rows and columns of frames ``(frames, height, width, channels)``, uint8 or float.

    Args:
        frames: The frames, on any device.
        rows: See :class:`Sampling`.
        columns: See there.

    Returns:
        float32 ``(frames, rows, channels, columns)``, new memory on the same device.
    """
    count, _, _, channels = frames.shape
    # The first left neighbour is the leftmost, the last right one the rightmost.
    begin, end = int(columns[0]), int(columns[-1]) + 1
    frames, columns = frames[:, :, begin:end], columns - begin
    indices = (columns * channels + np.arange(channels)[:, None]).ravel()
    if frames.device.type == "cpu" and frames.dtype is torch.uint8:
        # numpy selects bytes faster than index_select.
        selected_rows = np.stack([frame[rows].reshape(len(rows), -1) for frame in frames.numpy()])
        picked = torch.from_numpy(selected_rows.take(indices, axis=2))
    else:
        selected = frames.index_select(1, torch.from_numpy(rows).to(frames.device))
        picked = selected.flatten(2).index_select(2, torch.from_numpy(indices).to(frames.device))
    return picked.view(count, len(rows), channels, len(columns)).to(torch.float32, copy=True)


class _PickJob(ctypes.Structure):
    """``pick_job`` of ``_pixels.c``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("luma", "blue", "red")),
        *((name, ctypes.c_int64) for name in ("luma_stride", "blue_stride", "red_stride")),
        *((name, ctypes.c_void_p) for name in ("rows", "columns", "out")),
        *((name, ctypes.c_int64) for name in ("row_count", "column_count", "offset", "gain")),
        *((name, ctypes.c_int64) for name in ("to_red", "to_blue", "green_of_red", "green_of_blue")),
    )


def can_pick(picture: CodedPicture) -> bool:
    """Return whether the kernel gives the bytes of ``picture.rgb``."""
    height, width = picture.shape
    # Libswscale takes another way for an odd number of rows.
    return height % 2 == 0 and _agrees(width, picture.matrix, picture.full_range)


def pick_coded_pixels(
    picture: CodedPicture, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> torch.Tensor:
    """Convert some rows and columns of a picture that :func:`can_pick` accepts.

    Args:
        picture: The picture.
        rows: int64, within its height.
        columns: int64, within its width.

    Returns:
        float32 ``(rows, 3, columns)``, integers from 0 to 255; channels come before columns.
    """
    kernel = _kernel()
    assert not isinstance(kernel, str)
    out = torch.empty(len(rows), 3, len(columns))
    rows, columns = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(columns, np.int64)
    job = _PickJob(row_count=len(rows), column_count=len(columns))
    for name, plane in zip(("luma", "blue", "red"), picture.planes, strict=True):
        setattr(job, name, plane.ctypes.data)
        setattr(job, f"{name}_stride", plane.strides[0])
    job.rows, job.columns, job.out = rows.ctypes.data, columns.ctypes.data, out.data_ptr()
    for name, value in _coefficients(picture.matrix, picture.full_range).items():
        setattr(job, name, value)
    kernel.pick_pixels(ctypes.byref(job))
    return out


def why_no_picking() -> str | None:
    """Return why the kernel is unavailable; None if it is available."""
    kernel = _kernel()
    return kernel if isinstance(kernel, str) else None


@lru_cache
def _kernel() -> ctypes.CDLL | str:
    def load(path: Path) -> ctypes.CDLL:
        library = ctypes.CDLL(str(path))
        library.pick_pixels.argtypes, library.pick_pixels.restype = (ctypes.c_void_p,), None
        return library

    return load_library("endofm.kernels._pixels", load)


@lru_cache
def _coefficients(matrix: int, full_range: bool) -> dict[str, int]:
    """Return factors in units of 2^-13, as libswscale rounds them: first to 2^-16, then to 2^-13."""
    red, blue = _SHARES[matrix]
    green = 1 - red - blue
    # Chroma of a limited range spans 224 of 255 steps, luma 219 from 16 on.
    chroma = 65536 if full_range else 65536 * 255 / 224
    to_red, to_blue = 2 * (1 - red), 2 * (1 - blue)
    factors = {
        "gain": 65536 if full_range else 65536 * 255 / 219,
        "to_red": to_red * chroma,
        "to_blue": to_blue * chroma,
        "green_of_red": -to_red * red / green * chroma,
        "green_of_blue": -to_blue * blue / green * chroma,
    }
    return {"offset": 0 if full_range else 16 * 8, **{name: (int(x) + 4) >> 3 for name, x in factors.items()}}


@lru_cache
def _agrees(width: int, matrix: int, full_range: bool) -> bool:
    """Return whether the kernel and libswscale make the same of a few rows of noise."""
    if matrix not in _SHARES or why_no_picking() is not None:
        return False
    # Imported here: arrays are prepared without PyAV.
    from av.video.frame import VideoFrame
    from av.video.reformatter import ColorRange

    from endofm.video.rgb_conversion import RgbConverter, coded_picture

    random = np.random.default_rng(0)
    frame = VideoFrame(width, _TRIED_ROWS, "yuv420p")
    for plane in frame.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    frame.colorspace = matrix
    frame.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
    picture = coded_picture(frame, RgbConverter(width, _TRIED_ROWS))
    assert picture is not None
    picked = pick_coded_pixels(picture, np.arange(_TRIED_ROWS), np.arange(width))
    return np.array_equal(picked.numpy().transpose(0, 2, 1), picture.rgb)
