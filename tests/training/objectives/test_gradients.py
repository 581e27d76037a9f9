"""Clipping tensor by tensor, and freezing."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from endofm.training.objectives.gradients import cancel_gradients, clip_each
from helpers.golden_pretraining import head_and_loss, tensor


def test_each_gradient_is_clipped_by_its_own_norm() -> None:
    w, b = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3))
    w.grad, b.grad = tensor("clip/w", (3, 4), 5.0), tensor("clip/b", (3,), 0.1)
    norms = clip_each([w, nn.Parameter(torch.zeros(2)), b], 3.0)
    np.testing.assert_allclose(norms, head_and_loss()["clip/norms"], rtol=1e-6)
    np.testing.assert_allclose(w.grad, head_and_loss()["clip/w"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(b.grad, head_and_loss()["clip/b"], rtol=0, atol=1e-6)


def test_frozen_parameters_are_skipped_by_the_optimiser() -> None:
    module = nn.ModuleDict({"first": nn.Linear(2, 2), "last_layer": nn.Linear(2, 2)})
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.5)
    before = {name: p.clone() for name, p in module.named_parameters()}
    module["last_layer"](module["first"](torch.ones(1, 2))).sum().backward()
    cancel_gradients(module.named_parameters(), "last_layer")
    optimizer.step()
    for name, p in module.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("last_layer")


def test_nothing_to_clip() -> None:
    assert clip_each([nn.Parameter(torch.ones(2))], 1.0).shape == (0,)
