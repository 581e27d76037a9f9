"""From the frames of a clip to its views, as the data set's transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endofm.training.views.config import ViewConfig
from endofm.training.views.crops import ViewCrops
from endofm.training.views.draws import draw_views
from endofm.video.frames import UInt8Array


@dataclass(frozen=True)
class CutViews:
    """Transform that draws the views of a clip and cuts them out; pixels stay uint8.

    The rest is done by :func:`~endofm.training.views.render.render_views`, on the device that trains.

    Attributes:
        config: What is drawn.
    """

    config: ViewConfig

    def __call__(self, frames: UInt8Array, generator: np.random.Generator) -> ViewCrops:
        """Draw and cut; ``frames`` is uint8 ``(time, height, width, 3)``."""
        time, height, width = frames.shape[:3]
        return ViewCrops.cut(frames, draw_views(time, height, width, self.config, generator))
