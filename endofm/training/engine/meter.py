"""Means of metrics between two rows of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from endofm.training.engine.distributed import all_reduce_mean, whole


class Meter:
    """Sums up scalars without waiting for the device.

    Args:
        device: Where the scalars are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Take one step's values."""
        for name, value in metrics.items():
            value = whole(value.detach()).float() if isinstance(value, Tensor) else float(value)
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over steps and processes, and begin anew."""
        names = sorted(self._sums)
        if not names:
            return {}
        values = torch.stack([torch.as_tensor(self._sums[n], dtype=torch.float64) / self._counts[n] for n in names])
        means = all_reduce_mean(values.to(self.device, torch.float32)).tolist()
        self._sums, self._counts = {}, {}
        return dict(zip(names, means, strict=True))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"sums": {name: float(value) for name, value in self._sums.items()}, "counts": dict(self._counts)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state` returned."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
