"""Random draws of the views of one clip: span, frames, box, flip and colours. No pixel is touched here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from endofm.errors import InputError
from endofm.training.views.view_config import CropRule, ViewConfig
from endofm.transforms.geometry import Box
from endofm.video.clip_windows import Int64Array
from endofm.video.frames import Float64Array
from endofm.video.published_sampling import pick_indices

Change = Literal["brightness", "contrast", "saturation"]
CHANGES: tuple[Change, ...] = ("brightness", "contrast", "saturation")

TRIES = 10
"""Random boxes to try before falling back to the largest centred one."""

ASPECT = (3 / 4, 4 / 3)
"""Range of the aspect ratio (width over height) of a random box, drawn uniformly in the logarithm."""


@dataclass(frozen=True)
class RandomSpan:
    """Frame sampler: all frames of a random span; of a shorter video, all its frames.

    Attributes:
        seconds: Length of the span.
    """

    seconds: float

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`endofm.data.frame_samplers.FrameSampler`."""
        begin = float(times[0])
        frame = (end - begin) / len(times)
        start = begin + float(generator.uniform(0, max(end - begin - self.seconds, 0.0)))
        first = int(np.searchsorted(times, start, side="left"))
        # As published: from the first frame at or after the start to the last frame before the end of the span, and one
        # more.
        stop = int(np.searchsorted(times, start + self.seconds - frame, side="right")) + 1
        return times[min(first, len(times) - 1) : stop]


@dataclass(frozen=True)
class Appearance:
    """Flip and colours of one view.

    Attributes:
        flip: Flip horizontally.
        changes: Colour changes in order, each with its factor (1 changes nothing).
        grey: Convert to grey afterwards.
    """

    flip: bool = False
    changes: tuple[tuple[Change, float], ...] = ()
    grey: bool = False


@dataclass(frozen=True)
class ViewDraw:
    """Draws of one view, shared by all its frames.

    Attributes:
        frames: Indices into the clip's frames, ascending; some may repeat.
        box: Part of the frame to crop.
        size: Side in pixels to which the crop is resized.
        appearance: Flip and colours.
    """

    frames: tuple[int, ...]
    box: Box
    size: int
    appearance: Appearance


def draw_views(
    num_frames: int, height: int, width: int, config: ViewConfig, generator: np.random.Generator
) -> list[ViewDraw]:
    """Draw the views of a clip, global ones first.

    Args:
        num_frames: Frames of the clip.
        height: Height of a frame, in pixels.
        width: Width of a frame, in pixels.
        config: Distributions to draw from.
        generator: Source of all draws; see :func:`endofm.data.clip_dataset.clip_generator`.

    Raises:
        InputError: If the clip is empty.
    """
    if min(num_frames, height, width) < 1:
        raise InputError(f"a clip needs frames and pixels, got {num_frames} frames of {height} x {width}")
    frames = draw_frames(num_frames, config, generator)
    boxes = [draw_box(height, width, scale, generator, rule=config.crop_rule) for scale in config.scales]
    if config.shared_draws:
        # Published quirk: flips and colours come from few seeds, whichever the clip and the epoch.
        generator = np.random.default_rng([0, int(generator.integers(config.shared_draws))])
    return [
        ViewDraw(tuple(indices.tolist()), box, size, draw_appearance(config, generator))
        for indices, box, size in zip(frames, boxes, config.sizes, strict=True)
    ]


def draw_frames(num_frames: int, config: ViewConfig, generator: np.random.Generator) -> list[Int64Array]:
    """Draw the frames of each view, by the published rule.

    Global views span the clip except ``global_margin`` frames; nothing about them is random. A local view spans
    ``num_frames // local_parts`` frames at a random position; one draw each, in the order of the views.

    Returns:
        For each view the indices of its frames, int64, ascending, global views first.
    """
    views = []
    for i, count in enumerate(config.global_frames):
        # The margin moves from the end of the clip (first view) to its beginning (last view).
        start = round(config.global_margin * i / max(len(config.global_frames) - 1, 1))
        views.append(pick_indices(start, num_frames - config.global_margin + start, count, num_frames))
    length = num_frames // config.local_parts
    for count in config.local_frames:
        start = int(generator.integers(0, num_frames - length))
        views.append(pick_indices(start, start + length, count, num_frames))
    return views


def draw_box(
    height: int, width: int, scale: tuple[float, float], generator: np.random.Generator, *, rule: CropRule
) -> Box:
    """Draw the part of a frame that a view shows (random resized crop, Inception style).

    Each try draws the area, then the logarithm of the aspect ratio, then, if the box fits, its top and its left.

    Args:
        height: Height of the frame.
        width: Width of the frame.
        scale: Range of the fraction of the area.
        generator: Source of the draws.
        rule: See :attr:`ViewConfig.crop_rule`.
    """
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    corner: tuple[int, int] | None = None
    h = w = 0
    for _ in range(TRIES):
        area = height * width * float(generator.uniform(*scale))
        aspect = math.exp(float(generator.uniform(low, high)))
        # w * h = area and w / h = aspect.
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(generator.integers(0, height - h + 1))
            left = int(generator.integers(0, width - w + 1))
            if rule == "first_fit":
                return Box(top, left, h, w)
            corner = top, left
    if corner is None:
        return _centred(height, width)
    top, left = corner
    # As published: the size is that of the last try, whether it fits or not, limited to the frame.
    return Box(top, left, max(min(h, height - top), 1), max(min(w, width - left), 1))


def draw_appearance(config: ViewConfig, generator: np.random.Generator) -> Appearance:
    """Draw flip and colours of a view, in the published order: flip, whether to jitter, order, factors, grey."""
    flip = bool(generator.random() < config.flip_probability)
    changes: list[tuple[Change, float]] = []
    if generator.random() < config.jitter_probability:
        for i in generator.permutation(len(CHANGES)).tolist():
            limit = getattr(config, CHANGES[i])
            changes.append((CHANGES[i], 1 + float(generator.uniform(-limit, limit))))
    return Appearance(flip, tuple(changes), bool(generator.random() < config.grey_probability))


def _centred(height: int, width: int) -> Box:
    """Return the largest centred box within the range of aspect ratios."""
    h, w = height, width
    if width / height < ASPECT[0]:
        h = round(width / ASPECT[0])
    elif width / height > ASPECT[1]:
        w = round(height * ASPECT[1])
    return Box((height - h) // 2, (width - w) // 2, h, w)
