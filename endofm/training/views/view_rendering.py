"""Rendering of views: from uint8 crops to normalised float32 views, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.errors import InputError
from endofm.training.views.view_colours import apply_colour
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_crops import ViewCrops


def render_views(crops: ViewCrops, config: ViewConfig) -> list[Tensor]:
    """Resize, flip, change colours and normalise, on the device that holds the pixels.

    Resizing is bicubic with half-pixel centres, without antialiasing and without clamping the values, as published.

    Args:
        crops: Views of a batch of clips.
        config: The settings with which they were drawn.

    Returns:
        For each view float32 ``(clips, 3, time, size, size)``, RGB, normalised.

    Raises:
        InputError: If the crops hold other views than the settings describe.
    """
    for clip_views in crops.views:
        drawn = tuple(view.frames for view in clip_views)
        if drawn != config.frames:
            raise InputError(f"these crops were drawn for other views: frames {drawn}, expected {config.frames}")
    pixels = crops.split()
    # Crops differ in size and are resized one by one; colours of all views of equal shape are changed together.
    groups: dict[tuple[int, int], list[int]] = {}
    for view, shape in enumerate(zip(config.frames, config.sizes, strict=True)):
        groups.setdefault(shape, []).append(view)
    views: dict[int, Tensor] = {}
    for (time, size), members in groups.items():
        sources = [(clip, view) for view in members for clip in range(len(crops))]
        resized = crops.pixels.new_empty((len(sources), time, 3, size, size), dtype=torch.float32)
        for out, (clip, view) in zip(resized, sources, strict=True):
            out.copy_(_resized(pixels[clip][view], size, crops.views[clip][view].flip))
        colours = [crops.views[clip][view].colour for clip, view in sources]
        rendered = apply_colour(resized, colours, config)
        views.update(zip(members, rendered.chunk(len(members)), strict=True))
    return [views[view] for view in range(len(config.frames))]


def _resized(pixels: Tensor, size: int, flip: bool) -> Tensor:
    """Return uint8 ``(time, height, width, 3)`` as float32 ``(time, 3, size, size)``, range [0, 255]."""
    frames = pixels.to(torch.float32).permute(0, 3, 1, 2).contiguous()
    if frames.shape[-2:] != (size, size):
        frames = F.interpolate(frames, size=(size, size), mode="bicubic", align_corners=False, antialias=False)
    return frames.flip(-1) if flip else frames
