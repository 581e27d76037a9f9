"""The projection head, against the published code (tests/golden/, made by med-air/Endo-FM at 206427e)."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import torch

from endofm.training.objectives.endofm.endofm_config import ProjectionHeadConfig
from endofm.training.objectives.endofm.projection_head import ProjectionHead
from helpers.golden_pretraining import TINY_HEAD, fill, head_and_loss, tensor
from helpers.paths import GOLDEN


def test_head_of_the_published_size() -> None:
    head = ProjectionHead(768, ProjectionHeadConfig())
    assert sum(p.numel() for p in head.parameters()) == 23_138_560
    published = json.loads((GOLDEN / "state_dict_keys_backbone.json").read_text())["dino_head"]
    assert {name: list(p.shape) for name, p in head.state_dict().items()} == published
    fill(head)
    x = tensor("head/vitb", (3, 768))
    with torch.no_grad():
        # Processors add up 2048 products in orders of their own; 1.1e-6 was seen.
        np.testing.assert_allclose(head.mlp(x), head_and_loss()["head_vitb/mlp"], rtol=0, atol=5e-6)
        out = head(x)
    np.testing.assert_allclose(out[:, ::64], head_and_loss()["head_vitb/out_sub"], rtol=0, atol=5e-6)
    stats = torch.stack(
        [out.mean(1), out.std(1), out.min(1).values, out.max(1).values, out.argmax(1).float()], dim=1
    ).double()
    np.testing.assert_allclose(stats, head_and_loss()["head_vitb/out_stats"], rtol=0, atol=5e-6)


def test_head_with_and_without_gains() -> None:
    head = ProjectionHead(64, TINY_HEAD)
    fill(head)
    x = tensor("head/tiny", (5, 64))
    np.testing.assert_allclose(head(x).detach(), head_and_loss()["head_tiny/out"], rtol=0, atol=1e-6)
    head.last_layer.weight_g.data = 1 + 0.1 * tensor("head/tiny_g", (128, 1))
    np.testing.assert_allclose(head(x).detach(), head_and_loss()["head_tiny/out_g"], rtol=0, atol=1e-6)
    assert not head.last_layer.weight_g.requires_grad


def test_a_normalised_head_tells_rows_apart_that_hardly_differ() -> None:
    torch.manual_seed(0)
    rows = torch.randn(1, 64) + 0.01 * torch.randn(32, 64)
    spread = {}
    for norm in ("none", "batch"):
        head = ProjectionHead(64, replace(TINY_HEAD, norm=norm))
        spread[norm] = head(rows).std(dim=0).mean().item()
    assert spread["batch"] > 10 * spread["none"]
    assert head.mlp[0].bias is None
    assert head.mlp[-1].bias is not None
