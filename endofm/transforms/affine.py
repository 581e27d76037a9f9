"""Frames cut from images by affine maps, and masks and boxes moved by the same maps.

A map takes points of the frame to points of the image. Both are in pixels, ``(x, y)``, with (0, 0) at the outer corner
of the first pixel, as in :class:`~endofm.transforms.geometry.Geometry`. A matrix holds the linear part, 2 x 2, and the
shift in its last column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.errors import InputError

Float64Array = npt.NDArray[np.float64]
Size = tuple[int, int]
"""Height and width in pixels."""

_INTEGER_LEVELS = 3
"""Halvings of uint8 images whose sums an int16 holds: 255 * 4**3."""


def sampling_grid(
    matrices: npt.ArrayLike, sizes: npt.ArrayLike, frame: Size, *, device: torch.device | str = "cpu"
) -> Tensor:
    """Return where the pixels of frames lie in their images, as ``grid_sample`` wants it.

    The grid spans [-1, 1] over the image, so that it fits every map that covers the same image: its pixels, its mask,
    or the patch tokens of another encoder.

    Args:
        matrices: ``(clips, time, 2, 3)``.
        sizes: ``(clips, 2)``, height and width of each image in the pixels of the matrices.
        frame: Height and width of the frames.
        device: Device of the grid. The maps are sent there and not the grid, which is a thousand times larger.

    Returns:
        float32 ``(clips, time * height, width, 2)``: the frames of a clip one below the other, so that its image is
        sampled once and not copied for every frame.
    """
    maps = np.asarray(matrices, np.float64)
    height, width = frame
    # From pixels to [-1, 1] on both sides: x = (u + 1) * width / 2 in the frame, u = 2 * x / width - 1 in the image.
    half = np.array([width / 2, height / 2])
    scale = 2 / np.asarray(sizes, np.float64)[:, None, ::-1]  # clips 1 2, x before y
    linear = maps[..., :2] * half * scale[..., None]
    shift = (maps[..., 2] + maps[..., :2] @ half) * scale - 1
    theta = torch.from_numpy(np.concatenate([linear, shift[..., None]], axis=-1)).float().to(device)
    clips, time = theta.shape[:2]
    grid = F.affine_grid(theta.flatten(0, 1), [clips * time, 1, height, width], align_corners=False)
    return grid.view(clips, time * height, width, 2)


def cut_frames(images: Tensor, matrices: npt.ArrayLike, frame: Size, *, sizes: npt.ArrayLike | None = None) -> Tensor:
    """Cut the frames of clips from their images, bilinearly; where a frame is coarser, the image is averaged first.

    Args:
        images: ``(clips, channels, height, width)``, uint8 or float, on any device.
        matrices: ``(clips, time, 2, 3)``.
        frame: Height and width of the frames.
        sizes: ``(clips, 2)``, height and width of each image in the pixels of the matrices, if the images were resized
            to one size since; their own size by default.

    Returns:
        float32 ``(clips, time, channels, height, width)``, in the images' range.

    Raises:
        InputError: If there are not as many images as maps.
    """
    maps = np.asarray(matrices, np.float64)
    sizes = _sizes(images, maps, sizes)
    grid = sampling_grid(maps, sizes, frame, device=images.device)
    # One level for a clip: its frames would differ in sharpness if each had its own. Pixels of the stored image per
    # pixel of the frame decide, hence the two factors for images that were resized.
    area = np.abs(np.linalg.det(maps[..., :2])).mean(axis=1)
    area = area * (images.shape[-2] * images.shape[-1]) / np.asarray(sizes, np.float64).prod(axis=1)
    levels = np.floor(np.log2(np.maximum(area, 1)) / 2 + 1e-9).astype(np.int64)
    time, channels = maps.shape[1], images.shape[1]
    out = torch.empty(len(images), time, channels, *frame, device=images.device)
    for rows, level in _parts(levels, one_by_one=images.device.type == "cpu"):
        source = _averaged(images[rows], level)
        sampled = F.grid_sample(source, grid[rows], padding_mode="border", align_corners=False)
        out[rows] = _by_frame(sampled, time)
    return out


def cut_masks(masks: Tensor, matrices: npt.ArrayLike, frame: Size, *, sizes: npt.ArrayLike | None = None) -> Tensor:
    """Cut the masks of clips: every pixel of a frame takes the value of the pixel that its centre falls on.

    Args:
        masks: ``(clips, height, width)``, any dtype whose values float32 holds exactly.
        matrices: See :func:`cut_frames`.
        frame: See :func:`cut_frames`.
        sizes: See :func:`cut_frames`.

    Returns:
        ``(clips, time, height, width)``, 0 outside the image.

    Raises:
        InputError: If there are not as many masks as maps.
    """
    maps = np.asarray(matrices, np.float64)
    grid = sampling_grid(maps, _sizes(masks[:, None], maps, sizes), frame, device=masks.device)
    sampled = F.grid_sample(masks[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return _by_frame(sampled, maps.shape[1])[:, :, 0].to(masks.dtype)


def move_boxes(boxes: npt.ArrayLike, matrices: npt.ArrayLike, frame: Size) -> tuple[Float64Array, Float64Array]:
    """Return the boxes of one image in the frames of its clip.

    A box is exact unless the camera turns: a turned rectangle is enclosed by the smallest upright one.

    Args:
        boxes: ``(n, 4)``, x1, y1, x2, y2 in pixels of the image.
        matrices: ``(time, 2, 3)``.
        frame: Height and width of the frames.

    Returns:
        Boxes in pixels of the frames, ``(time, n, 4)``, limited to the frame; and which part of its area is inside the
        frame, ``(time, n)``, 0 for a box that left it.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # n 4 2
    maps = np.asarray(matrices, np.float64)
    inverse = np.linalg.inv(maps[..., :2])[:, None]  # time 1 2 2
    moved = (corners[None] - maps[:, None, None, :, 2]) @ inverse.swapaxes(-1, -2)  # time n 4 2
    low, high = moved.min(axis=2), moved.max(axis=2)
    limits = np.array([frame[1], frame[0]], np.float64)
    inside = np.concatenate([low.clip(0, limits), high.clip(0, limits)], axis=-1)
    kept = (inside[..., 2:] - inside[..., :2]).prod(axis=-1)
    return inside, kept / np.maximum((high - low).prod(axis=-1), 1e-12)


def _sizes(images: Tensor, maps: Float64Array, sizes: npt.ArrayLike | None) -> npt.ArrayLike:
    if len(images) != len(maps) or maps.shape[2:] != (2, 3):
        raise InputError(f"{len(images)} images need maps ({len(images)}, time, 2, 3), got shape {maps.shape}")
    return np.tile(np.array(images.shape[-2:], np.float64), (len(images), 1)) if sizes is None else sizes


def _parts(levels: npt.NDArray[np.int64], *, one_by_one: bool) -> Iterator[tuple[slice | list[int], int]]:
    """Yield the clips to cut together and their level."""
    if one_by_one:  # One image fits into the cache of a core, a batch does not: half the time.
        for row, level in enumerate(levels.tolist()):
            yield slice(row, row + 1), level
        return
    for level in np.unique(levels).tolist():
        yield np.flatnonzero(levels == level).tolist(), level


def _averaged(images: Tensor, level: int) -> Tensor:
    """Return float images of which each pixel is the mean of ``2**level x 2**level`` pixels."""
    height, width = images.shape[-2:]
    factor = 2**level
    if height % factor or width % factor:
        # Cells of equal size up to a pixel: the whole image stays covered, so that [-1, 1] keeps its meaning.
        return F.interpolate(images.float(), (math.ceil(height / factor), math.ceil(width / factor)), mode="area")
    if images.dtype != torch.uint8 or level > _INTEGER_LEVELS:
        return F.avg_pool2d(images.float(), factor) if level else images.float()
    # Sums of integers, converted when they are few: a third of the time of averages in floating point.
    for _ in range(level):
        even, odd = images[..., ::2, :], images[..., 1::2, :]
        images = even[..., ::2].to(torch.int16) + even[..., 1::2] + odd[..., ::2] + odd[..., 1::2]
    return images.float().div_(factor * factor) if level else images.float()


def _by_frame(sampled: Tensor, time: int) -> Tensor:
    """Turn ``(clips, channels, time * height, width)`` into ``(clips, time, channels, height, width)``."""
    clips, channels, rows, width = sampled.shape
    return sampled.view(clips, channels, time, rows // time, width).transpose(1, 2)
