"""Resampling of maps over a clip's pixels at the pixels of the source frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from endofm.errors import InputError
from endofm.transforms.geometry import Box, Geometry


def covered_box(geometry: Geometry) -> Box:
    """Return the part of the source frame whose pixel centres lie within the clip."""
    (left, top), (right, bottom) = geometry.to_source([[0, 0], [geometry.crop.width, geometry.crop.height]])
    # The centre of pixel i lies at i + 0.5, so the first covered pixel is ceil(start - 0.5); 1e-9 absorbs rounding.
    first = np.ceil(np.array([top, left]) - 0.5 - 1e-9).astype(int)
    stop = np.ceil(np.array([bottom, right]) - 0.5 - 1e-9).astype(int)
    first = np.maximum(first, 0)
    stop = np.minimum(stop, [geometry.source_height, geometry.source_width])
    return Box(int(first[0]), int(first[1]), int(stop[0] - first[0]), int(stop[1] - first[1]))


def maps_to_source(maps: Tensor, geometry: Geometry) -> Tensor:
    """Resample maps of the clip at the pixel centres of the source frame, bilinearly.

    The exact inverse of the preprocessing: a source pixel takes the value at the position that it was mapped to, for
    any crop and aspect ratio. Within half a pixel of the clip's edge, the value of the edge is used.

    Args:
        maps: float ``(channels, crop, crop)``, on any device.
        geometry: Geometry with which the processor prepared the frame.

    Returns:
        float ``(channels, height, width)`` of :func:`covered_box`; the clip does not cover the frame outside it.

    Raises:
        InputError: If the maps do not have the size of the clip.
    """
    height, width = geometry.crop.height, geometry.crop.width
    if maps.shape[-2:] != (height, width):
        raise InputError(f"expected maps (channels, {height}, {width}), got shape {tuple(maps.shape)}")
    box = covered_box(geometry)
    columns = np.stack([np.arange(box.left, box.right) + 0.5, np.zeros(box.width)], axis=-1)
    rows = np.stack([np.zeros(box.height), np.arange(box.top, box.bottom) + 0.5], axis=-1)
    # An integer index means the centre of a pixel, hence - 0.5.
    x = geometry.to_clip(columns)[:, 0] - 0.5
    y = geometry.to_clip(rows)[:, 1] - 0.5
    return _lerp(_lerp(maps, y, -2), x, -1)


def _lerp(maps: Tensor, positions: np.ndarray[tuple[int], np.dtype[np.float64]], axis: int) -> Tensor:
    """Interpolate at fractional positions along an axis; positions beyond the ends take the values there."""
    positions = positions.clip(0, maps.shape[axis] - 1)
    first = np.minimum(np.floor(positions), maps.shape[axis] - 1).astype(np.int64)
    second = np.minimum(first + 1, maps.shape[axis] - 1)
    weight = torch.from_numpy(positions - first).to(device=maps.device, dtype=maps.dtype)
    begin = maps.index_select(axis, torch.from_numpy(first).to(maps.device))
    end = maps.index_select(axis, torch.from_numpy(second).to(maps.device))
    return begin.lerp_(end, weight[:, None] if axis == -2 else weight)
