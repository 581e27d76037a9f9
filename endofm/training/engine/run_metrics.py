"""Metrics of a run: means between two rows of the log, and the best validation so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from endofm.errors import ConfigError, quoted
from endofm.training.engine.distributed import all_reduce_mean, full_tensor
from endofm.training.run_config import RunConfig


class RunningMeans:
    """Sums of scalar metrics, accumulated without waiting for the device.

    Args:
        device: Device of the scalars.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Add the values of one step."""
        for name, value in metrics.items():
            # Stays a tensor on the device: float() here would make every step wait for the GPU.
            value = full_tensor(value.detach()).float() if isinstance(value, Tensor) else float(value)
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over steps and processes, and reset."""
        names = sorted(self._sums)
        if not names:
            return {}
        values = torch.stack([torch.as_tensor(self._sums[n], dtype=torch.float64) / self._counts[n] for n in names])
        # One collective for all metrics; sorted names give every process the same order.
        means = all_reduce_mean(values.to(self.device, torch.float32)).tolist()
        self._sums, self._counts = {}, {}
        return dict(zip(names, means, strict=True))

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"sums": {name: float(value) for name, value in self._sums.items()}, "counts": dict(self._counts)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state` returned."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


class BestValidation:
    """Tracks one validation metric: the best value, its step, and the patience.

    Args:
        run: Names the metric, its direction and the patience.

    Attributes:
        best: Best value so far, None before the first validation.
        best_step: Steps done at that validation.
        waited: Validations since then.
    """

    def __init__(self, run: RunConfig) -> None:
        self._run = run
        self.best: float | None = None
        self.best_step: int | None = None
        self.waited = 0

    def update(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Record the metrics of a validation; return whether it is the best so far.

        Raises:
            ConfigError: If the monitored metric is not among them.
        """
        name = self._run.monitor
        if name is None:
            return False
        if name not in metrics:
            raise ConfigError(
                f"run.monitor: validation has no metric {quoted(name)}; it has {', '.join(metrics) or 'none'}"
            )
        value = metrics[name]
        sign = 1 if self._run.monitor_mode == "max" else -1
        # `not a > b` rather than `a <= b`: a value that is not a number never becomes the best.
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
        """Return the state for a checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state` returned."""
        self.best, self.best_step, self.waited = state["best"], state["best_step"], state["waited"]
