"""Stands in for a generator and hands out numbers that the original drew, checking what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class RecordedDraws:
    """``torch_draws`` are ``[function, low, high, value]``, ``numpy_draws`` end with their value."""

    def __init__(self, torch_draws: Sequence[Sequence[Any]] = (), numpy_draws: Sequence[Sequence[Any]] = ()) -> None:
        self.torch, self.numpy = list(torch_draws), list(numpy_draws)

    def uniform(self, low: float, high: float) -> float:
        function, low_there, high_there, value = self.torch.pop(0)
        assert function == "uniform"
        np.testing.assert_allclose((low, high), (low_there, high_there), atol=1e-6)
        return float(value)

    def integers(self, low: int, high: int) -> int:
        function, low_there, high_there, value = self.torch.pop(0)
        assert (function, low, high) == ("randint", low_there, high_there)
        return int(value)

    def random(self) -> float:
        function, value = self.numpy.pop(0)
        assert function == "uniform"
        return float(value)
