"""Windows onto pictures: the paths of a virtual camera that shows any part of a picture, at any proportions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from endofm.training.objectives.distill.distill_config import PictureViewConfig
from endofm.training.views.view_draws import ASPECT
from endofm.video.frames import Float64Array


def draw_windows(
    sizes: npt.ArrayLike, frames: int, config: PictureViewConfig, generator: np.random.Generator
) -> Float64Array:
    """Draw the path of a camera over each picture.

    :mod:`endofm.data.stills.virtual_camera` draws clips to look at, in true proportions; these windows also stretch, as
    models that squeeze whole frames do, and are spread evenly over the scales.

    Args:
        sizes: ``(clips, 2)``, height and width of each picture in pixels.
        frames: Frames of each clip.
        config: Distributions to draw from.
        generator: Source of all draws.

    Returns:
        float64 ``(clips, frames, 2, 3)``: matrices that map points of the view, x and y from 0 to 1, to points of the
        picture in pixels; see :mod:`endofm.transforms.affine`.
    """
    limit = np.asarray(sizes, np.float64)[:, ::-1]  # clips, (width, height)
    clips = len(limit)

    def uniform(low: float, high: float, *axes: int) -> Float64Array:
        return generator.uniform(low, high, (clips, *axes))

    area = np.exp(uniform(np.log(config.scale[0]), np.log(config.scale[1]))) * limit.prod(axis=1)
    ratio = np.exp(uniform(np.log(ASPECT[0]), np.log(ASPECT[1])))
    size = np.minimum(np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1), limit)
    centre = size / 2 + uniform(0, 1, 2) * (limit - size)
    angle = np.radians(uniform(-config.rotation, config.rotation))
    # Time runs from -1/2 to 1/2: the drawn window is the one in the middle of the path.
    time = np.linspace(-0.5, 0.5, frames) if frames > 1 else np.zeros(1)
    moving = (generator.random(clips) >= config.still_probability).astype(np.float64)
    path = moving[:, None] * time  # clips, frames
    view = np.minimum(size[:, None] * np.exp(path * uniform(-config.zoom, config.zoom, 1))[..., None], limit[:, None])
    centres = centre[:, None] + path[..., None] * (uniform(-config.shift, config.shift, 2) * size)[:, None]
    centres = np.clip(centres, view / 2, limit[:, None] - view / 2)
    angles = angle[:, None] + path * np.radians(uniform(-config.turn, config.turn, 1))
    mirror = np.where(generator.random(clips) < config.flip_probability, -1.0, 1.0)[:, None]
    cos, sin = np.cos(angles), np.sin(angles)
    width, height = mirror * view[..., 0], view[..., 1]
    linear = np.stack([cos * width, -sin * height, sin * width, cos * height], axis=-1)
    linear = linear.reshape(clips, frames, 2, 2)
    shift = centres - linear @ np.array([0.5, 0.5])
    return np.concatenate([linear, shift[..., None]], axis=-1)
