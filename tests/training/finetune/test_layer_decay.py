"""Layer-wise learning rates and exemptions from weight decay."""

from __future__ import annotations

import pytest

from endofm.training.finetune.optimizer import make_optimizer
from endofm.training.finetune.optimizer_config import OptimizerConfig
from endofm.training.transfer.methods import apply_transfer
from helpers.small_classifier import classifier


def test_lower_layers_learn_more_slowly_and_norms_are_not_decayed() -> None:
    model = classifier()
    apply_transfer(model, "full")
    optimizer = make_optimizer(model, OptimizerConfig(layer_decay=0.5, backbone_rate=0.1, weight_decay=0.3))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: (g["rate"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert set(rates) == set(names.values())
    assert rates["head.linear.weight"] == (1.0, 0.3)
    assert rates["backbone.norm.weight"] == (0.1, 0.0)
    assert rates["backbone.blocks.1.mlp.fc1.weight"] == (pytest.approx(0.05), 0.3)
    assert rates["backbone.blocks.0.mlp.fc1.weight"] == (pytest.approx(0.025), 0.3)
    assert rates["backbone.patch_embed.proj.weight"] == (pytest.approx(0.0125), 0.3)
    assert rates["backbone.pos_embed"][1] == 0.0
