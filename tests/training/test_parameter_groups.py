"""Parameter groups of the published recipe."""

from __future__ import annotations

import json

import torch

from endofm.config import EncoderConfig
from endofm.models.encoder import VideoTransformer
from endofm.training.objectives.endofm.endofm_config import ProjectionHeadConfig
from endofm.training.objectives.endofm.multicrop import MultiCropNetwork
from endofm.training.objectives.endofm.projection_head import ProjectionHead
from endofm.training.parameter_groups import split_by_decay
from helpers.paths import GOLDEN


def test_parameter_groups_of_the_recipe() -> None:
    golden = json.loads((GOLDEN / "pretraining_param_groups.json").read_text())
    with torch.device("meta"):
        network = MultiCropNetwork(VideoTransformer(EncoderConfig()), ProjectionHead(768, ProjectionHeadConfig()))
    groups = split_by_decay(network, decay_embeddings=True)
    assert sorted(groups.decayed) == sorted(golden["decay"])  # our blocks list their temporal half first
    assert sorted(groups.not_decayed) == sorted(golden["no_decay"])
    named = {name for name, _ in network.named_parameters()}
    assert named - {*groups.decayed, *groups.not_decayed} == set(golden["not_optimised"])
    fixed = split_by_decay(network, decay_embeddings=False)
    moved = {f"backbone.{name}" for name in ("cls_token", "pos_embed", "time_embed")}
    assert set(groups.decayed) - set(fixed.decayed) == moved == set(fixed.not_decayed) - set(groups.not_decayed)
