"""Bringing what was said of a clip's pixels back to the pixels of the source frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from endofm.errors import InputError
from endofm.transforms.geometry import Box, Geometry


def covered_box(geometry: Geometry) -> Box:
    """Return the part of the source frame whose pixel centres lie within the clip."""
    (left, top), (right, bottom) = geometry.to_source([[0, 0], [geometry.crop.width, geometry.crop.height]])
    first = np.ceil(np.array([top, left]) - 0.5 - 1e-9).astype(int)
    stop = np.ceil(np.array([bottom, right]) - 0.5 - 1e-9).astype(int)
    first = np.maximum(first, 0)
    stop = np.minimum(stop, [geometry.source_height, geometry.source_width])
    return Box(int(first[0]), int(first[1]), int(stop[0] - first[0]), int(stop[1] - first[1]))


def maps_to_source(maps: Tensor, geometry: Geometry) -> Tensor:
    """Resample maps of the clip at the pixel centres of the source frame, bilinearly.

    The exact inverse of the way in: a pixel of the source takes the value at the very place where it went, whatever was
    cropped and however the aspect ratio changed. At the clip's edge, within half a pixel, the edge's value holds.

    Args:
        maps: float ``(channels, crop, crop)``, on any device.
        geometry: Of the frame, as the processor prepared it.

    Returns:
        float ``(channels, height, width)`` of :func:`covered_box`; nothing is known of the frame outside of it.

    Raises:
        InputError: If the maps have not the size of the clip.
    """
    height, width = geometry.crop.height, geometry.crop.width
    if maps.shape[-2:] != (height, width):
        raise InputError(f"expected maps (channels, {height}, {width}), got shape {tuple(maps.shape)}")
    box = covered_box(geometry)
    columns = np.stack([np.arange(box.left, box.right) + 0.5, np.zeros(box.width)], axis=-1)
    rows = np.stack([np.zeros(box.height), np.arange(box.top, box.bottom) + 0.5], axis=-1)
    x = geometry.to_clip(columns)[:, 0] - 0.5
    y = geometry.to_clip(rows)[:, 1] - 0.5
    return _lerp(_lerp(maps, y, -2), x, -1)


def _lerp(maps: Tensor, places: np.ndarray[tuple[int], np.dtype[np.float64]], axis: int) -> Tensor:
    """Take values at fractional places along an axis; places beyond the ends take the ends' values."""
    places = places.clip(0, maps.shape[axis] - 1)
    first = np.minimum(np.floor(places), maps.shape[axis] - 1).astype(np.int64)
    second = np.minimum(first + 1, maps.shape[axis] - 1)
    weight = torch.from_numpy(places - first).to(device=maps.device, dtype=maps.dtype)
    begin = maps.index_select(axis, torch.from_numpy(first).to(maps.device))
    end = maps.index_select(axis, torch.from_numpy(second).to(maps.device))
    return begin.lerp_(end, weight[:, None] if axis == -2 else weight)
