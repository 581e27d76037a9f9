"""Which validation was best, and whether it is time to stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from endofm.errors import ConfigError
from endofm.training.run_config import RunConfig


class Monitor:
    """Follows one validation metric.

    Args:
        run: Names the metric, its direction and the patience.

    Attributes:
        best: Best value so far, None before the first.
        best_step: Steps done at that validation.
        waited: Validations since.
    """

    def __init__(self, run: RunConfig) -> None:
        self._run = run
        self.best: float | None = None
        self.best_step: int | None = None
        self.waited = 0

    def update(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take the metrics of a validation and return whether it is the best so far.

        Raises:
            ConfigError: If the metric is not among them.
        """
        name = self._run.monitor
        if name is None:
            return False
        if name not in metrics:
            raise ConfigError(f"run.monitor: validation has no metric {name!r}; it has {', '.join(metrics) or 'none'}")
        value = metrics[name]
        sign = 1 if self._run.monitor_mode == "max" else -1
        if self.best is not None and not sign * value > sign * self.best:
            self.waited += 1
            return False
        self.best, self.best_step, self.waited = value, step, 0
        return True

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return self._run.patience is not None and self.waited >= self._run.patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self.best, self.best_step, self.waited = state["best"], state["best_step"], state["waited"]
