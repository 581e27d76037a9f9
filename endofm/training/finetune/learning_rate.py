"""Learning-rate schedules of fine-tuning."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError

if TYPE_CHECKING:
    from endofm.training.engine.training_task import Plan


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Learning-rate schedule.

    Attributes:
        name: `cosine` falls by half a cosine, `polynomial` by `(1 - t) ** power`, `constant` does not fall.
        every: `step`, or `epoch` to keep the rate within an epoch.
        warmup_epochs: Epochs of a linear rise at the start.
        end: Final rate as a multiple of the peak.
        power: Exponent of `polynomial`.
    """

    name: Literal["cosine", "polynomial", "constant"] = "cosine"
    every: Literal["step", "epoch"] = "step"
    warmup_epochs: float = 0.0
    end: float = 0.0
    power: float = 0.9

    def __post_init__(self) -> None:
        require_number(self, "warmup_epochs", low=0)
        require_number(self, "end", low=0, high=1)
        require_number(self, "power", low=0, open_low=True)

    def factor(self, plan: Plan, step: int) -> float:
        """Return the learning rate of a step as a multiple of the peak.

        Args:
            plan: Length of the run.
            step: Number of the step, from 0.
        """
        warmup = min(self.warmup_epochs * plan.steps_per_epoch, plan.total_steps)
        if step < warmup:
            # Neither 0 at the first step, which would be wasted, nor the peak before the end of the rise.
            return (step + 1) / (math.floor(warmup) + 1)
        if self.name == "constant":
            return 1.0
        total = plan.total_steps
        if self.every == "epoch":
            # All steps of an epoch have the rate of its first step; a last epoch that is cut short counts in full.
            total = plan.epochs * plan.steps_per_epoch
            step = max(plan.epoch(step) * plan.steps_per_epoch, math.ceil(warmup))
        # Progress after the rise, in [0, 1].
        t = min((step - warmup) / max(total - warmup, 1), 1.0)
        shape = (1 + math.cos(math.pi * t)) / 2 if self.name == "cosine" else (1 - t) ** self.power
        return self.end + (1 - self.end) * shape


@dataclass(frozen=True, kw_only=True)
class StepScheduleConfig:
    """Learning-rate schedule of the published detector: a linear rise, then drops at fixed steps.

    Attributes:
        warmup_steps: Steps of the rise.
        warmup_factor: First rate as a multiple of the peak.
        milestones: Steps at which the rate drops.
        drop: Factor of each drop.
    """

    name: Literal["steps"] = "steps"
    warmup_steps: int = 8000
    warmup_factor: float = 1 / 3
    milestones: tuple[int, ...] = (64_000, 80_000, 88_000)
    drop: float = 0.5

    def __post_init__(self) -> None:
        require_int(self, "warmup_steps", low=0)
        require_number(self, "warmup_factor", "drop", low=0, high=1, open_low=True)
        if list(self.milestones) != sorted(self.milestones):
            raise ConfigError(f"milestones must be ascending, got {self.milestones}")

    def factor(self, plan: Plan, step: int) -> float:
        """Return the learning rate of a step, counted from 0, as a multiple of the peak; the plan is not used."""
        rise = 1.0
        if step < self.warmup_steps:
            progress = step / self.warmup_steps
            rise = self.warmup_factor * (1 - progress) + progress
        # The rise does not replace the drops: both factors apply, as in the published code.
        return rise * self.drop ** bisect_right(self.milestones, step)
