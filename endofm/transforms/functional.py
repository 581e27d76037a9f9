"""Operations on frames: resize, crop, normalise. Every one is a pure function.

Frames are ``(..., height, width, 3)``, uint8 or float, as numpy array or as tensor on any device; results are float32
tensors on the same device, in the same range as the frames. The pixel rules are those of the original's evaluation
(bilinear, half-pixel centres, no antialiasing), in an order that costs less: resizing and normalising commute,
because the weights of a bilinear mean sum to one, so the small image is normalised; and only pixels that survive the
crop are computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from endofm.errors import InputError
from endofm.transforms.geometry import Box, Position, crop_corner, resized_shape

Frames = npt.NDArray[np.generic] | torch.Tensor


def as_tensor(frames: Frames) -> torch.Tensor:
    """Return the frames as tensor, without copying where that is possible.

    Raises:
        InputError: If they are neither array nor tensor, or hold other than uint8 or float values.
    """
    if isinstance(frames, np.ndarray):
        if frames.dtype != np.uint8 and frames.dtype.kind != "f":
            raise InputError(f"frames must be uint8 or float, got {frames.dtype}")
        # torch cannot hold negative strides and warns of arrays that it might write to.
        usable = frames.flags.writeable and all(stride >= 0 for stride in frames.strides)
        return torch.from_numpy(frames if usable else frames.copy())
    if isinstance(frames, torch.Tensor):
        if frames.dtype != torch.uint8 and not frames.is_floating_point():
            raise InputError(f"frames must be uint8 or float, got {frames.dtype}")
        return frames
    raise InputError(f"frames must be a numpy array or a tensor, got {type(frames).__name__}")


def _neighbours(
    source: int, target: int, begin: int, stop: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return for the positions ``begin .. stop - 1`` of a resized axis both source indices and the second's weight.

    The scale and the coordinate are each rounded to float32 once, as by the fused multiply-add of
    ``torch.nn.functional.interpolate``, which the original calls; on a wide frame this is the larger part of what
    would otherwise differ.
    """
    scale = np.float64(np.float32(source) / np.float32(target))
    position = np.maximum(scale * (np.arange(begin, stop) + 0.5) - 0.5, 0).astype(np.float32)
    first = np.minimum(position.astype(np.int64), source - 1)
    return first, np.minimum(first + 1, source - 1), position - first.astype(np.float32)


def _pick(frames: torch.Tensor, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> torch.Tensor:
    """Return some rows and columns of frames ``(frames, height, width, channels)``, channels before columns.

    Returns:
        float32 ``(frames, rows, channels, columns)``, new memory.
    """
    count, _, _, channels = frames.shape
    places = (columns * channels + np.arange(channels)[:, None]).ravel()
    if frames.device.type == "cpu" and frames.dtype is torch.uint8:
        # numpy picks bytes faster than index_select.
        lines = np.stack([frame[rows].reshape(len(rows), -1) for frame in frames.numpy()])
        picked = torch.from_numpy(lines.take(places, axis=2))
    else:
        chosen = frames.index_select(1, torch.from_numpy(rows).to(frames.device))
        picked = chosen.flatten(2).index_select(2, torch.from_numpy(places).to(frames.device))
    return picked.view(count, len(rows), channels, len(columns)).to(torch.float32, copy=True)


def resize(frames: Frames, shape: tuple[int, int], window: Box | None = None) -> torch.Tensor:
    """Resize bilinearly with half-pixel centres and without antialiasing.

    Args:
        frames: ``(..., height, width, channels)``, uint8 or float.
        shape: New height and width.
        window: Part of the resized frame to compute, everything if None.

    Returns:
        float32 ``(..., window.height, window.width, channels)``, in the range of ``frames``.

    Raises:
        InputError: If the frames are of the wrong kind or the window lies outside of the resized frame.
    """
    tensor = as_tensor(frames)
    if tensor.ndim < 3 or 0 in tensor.shape:
        raise InputError(f"frames must have the shape (..., height, width, channels), got {tuple(tensor.shape)}")
    window = window or Box(0, 0, *shape)
    if window.bottom > shape[0] or window.right > shape[1]:
        raise InputError(f"{window} does not lie within {shape[0]} x {shape[1]} pixels (height x width)")
    height, width, channels = tensor.shape[-3:]
    flat = tensor.reshape(-1, height, width, channels)
    above, below, down = _neighbours(height, shape[0], window.top, window.bottom)
    left, right, across = _neighbours(width, shape[1], window.left, window.right)
    # The four neighbours of every pixel are picked before anything is computed: fewer numbers than a frame has.
    begin, end = int(left[0]), int(right[-1]) + 1
    picked = _pick(flat[:, :, begin:end], np.concatenate([above, below]), np.concatenate([left, right]) - begin)
    upper, lower = picked.chunk(2, dim=1)
    first, second = upper.lerp_(lower, torch.from_numpy(down).to(flat.device).view(-1, 1, 1)).chunk(2, dim=3)
    out = first.lerp(second, torch.from_numpy(across).to(flat.device)).movedim(2, 3)
    return out.view(*tensor.shape[:-3], window.height, window.width, channels)


def resize_antialiased(frames: Frames, shape: tuple[int, int], window: Box | None = None) -> torch.Tensor:
    """Resize as Pillow's ``BILINEAR`` does: with a filter as wide as the reduction, rounded to whole values.

    Args:
        frames: uint8 ``(..., height, width, channels)``.
        shape: New height and width.
        window: Part of the resized frame to return, everything if None.

    Returns:
        float32 ``(..., window.height, window.width, channels)``, whole values in [0, 255], on the frames' device.

    Raises:
        InputError: If the frames are not uint8.
    """
    tensor = as_tensor(frames)
    if tensor.dtype != torch.uint8:
        raise InputError(
            f"frames must be uint8 values from 0 to 255 to be resized as Pillow does it, got {tensor.dtype}"
        )
    window = window or Box(0, 0, *shape)
    flat = tensor.reshape(-1, *tensor.shape[-3:]).movedim(-1, 1)
    # On bytes in the processor's memory torch has Pillow's own fixed-point arithmetic, and nowhere else.
    small = torch.nn.functional.interpolate(
        flat.cpu(), size=shape, mode="bilinear", align_corners=False, antialias=True
    )
    out = small[..., window.top : window.bottom, window.left : window.right].movedim(1, -1)
    return out.reshape(*tensor.shape[:-3], *out.shape[-3:]).to(device=tensor.device, dtype=torch.float32)


def stretch_values(frames: Frames) -> torch.Tensor:
    """Stretch the values of every frame to [0, 255], over all its pixels and channels together.

    Args:
        frames: ``(..., height, width, channels)``.

    Returns:
        float32 of the same shape. A frame of one single value becomes 0.
    """
    tensor = as_tensor(frames).to(torch.float32)
    low, high = tensor.amin((-3, -2, -1), keepdim=True), tensor.amax((-3, -2, -1), keepdim=True)
    return (tensor - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny) * 255


def resize_short_side(frames: Frames, size: int) -> torch.Tensor:
    """Resize so that the shorter side is ``size`` and the other ``floor(long / short * size)``; see :func:`resize`."""
    height, width = frames.shape[-3:-1]
    return resize(frames, resized_shape(height, width, size))


def crop_square(frames: Frames, size: int, position: Position = 1) -> torch.Tensor:
    """Cut a square out of frames ``(..., height, width, channels)``.

    Args:
        frames: uint8 or float; the dtype is kept.
        size: Side in pixels.
        position: 0 = left of a landscape or square frame, top of a portrait frame; 1 = centre; 2 = right or bottom.

    Raises:
        InputError: If the frame is smaller than the square.
    """
    tensor = as_tensor(frames)
    top, left = crop_corner(tensor.shape[-3], tensor.shape[-2], size, position)
    return tensor[..., top : top + size, left : left + size, :]


def normalize(frames: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return ``(frames / 255 - mean) / std`` per channel.

    Args:
        frames: float32 ``(..., channels)``, range [0, 255].
        mean: Per channel, for a range of [0, 1].
        std: Per channel, likewise.

    Returns:
        float32 of the same shape.
    """
    centre = torch.tensor([255 * m for m in mean], dtype=torch.float32, device=frames.device)
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=frames.device)
    return (frames - centre) * scale
