"""Schedules as functions of the step alone; a resumed run needs no state for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from endofm.errors import ConfigError


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up from 0 to ``start``, then half a cosine from ``start`` towards ``end``.

    The values are the published ones (``utils.cosine_scheduler`` of DINO, arXiv 2104.14294).

    Attributes:
        start: Value after the warm-up.
        end: Value that the cosine approaches.
        total_steps: Steps of the full run.
        warmup_steps: Steps of the warm-up; at most all of them.
    """

    start: float
    end: float
    total_steps: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if self.total_steps < 1 or not 0 <= self.warmup_steps <= self.total_steps:
            raise ConfigError(
                f"a schedule needs at least one step and a warm-up within them, got {self.warmup_steps} of "
                f"{self.total_steps} steps"
            )

    def __call__(self, step: int) -> float:
        """Return the value of a step, counted from 0; steps beyond the end keep the last value."""
        step = min(step, self.total_steps - 1)
        if step < self.warmup_steps:
            # As published (numpy.linspace), the rise includes both its ends: the very first value is 0.
            return self.start * step / max(self.warmup_steps - 1, 1)
        # end + (start - end) / 2 * (1 + cos(pi * x)), x from 0 to just below 1: as published, `end` is never reached.
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.end + (self.start - self.end) / 2 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class EpochWarmup:
    """Linear change from ``start`` to ``end`` over the first epochs, then ``end``; evaluated by epoch.

    Attributes:
        start: Value of epoch 0.
        end: Value of the last epoch of the change and of all later ones.
        warmup_epochs: Epochs of the change, both ends included; 0 gives ``end`` everywhere.
    """

    start: float
    end: float
    warmup_epochs: int = 0

    def __call__(self, epoch: int) -> float:
        """Return the value of an epoch, counted from 0."""
        if epoch >= self.warmup_epochs:
            return self.end
        return self.start + (self.end - self.start) * epoch / max(self.warmup_epochs - 1, 1)
