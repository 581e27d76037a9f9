"""The trial of oneDNN's private operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from endofm.kernels.onednn import OneDnnBackend, can_prepack


def test_vanished_and_wrong_operators_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_prepack(torch.float32):
        pytest.skip("this build does not pack weights")
    can_prepack.cache_clear()
    monkeypatch.setattr(OneDnnBackend, "multiply", lambda self, x, weights, *, gelu: x)
    assert not can_prepack(torch.float32)
    can_prepack.cache_clear()

    def gone(*args: Any) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    monkeypatch.setattr(OneDnnBackend, "prepare", gone)
    assert not can_prepack(torch.float32)
    can_prepack.cache_clear()
