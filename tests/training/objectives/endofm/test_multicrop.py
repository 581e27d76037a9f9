"""Views of equal shape in one batch, in the published order."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from endofm.training.objectives.endofm.multicrop import MultiCropNetwork
from helpers.paths import GOLDEN


@pytest.mark.parametrize("case", ["rand_fr", "same_fr"])
def test_calls_and_order_of_the_views(case: str) -> None:
    golden = json.loads((GOLDEN / "pretraining_multicrop.json").read_text())[case]

    class Codes(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            calls.append(list(clips.shape))
            return clips[:, :, 0, 0, 0]

    views = [
        torch.stack([torch.full((1, frames, size, size), 10.0 * v + b) for b in range(2)])
        for v, (frames, size) in enumerate(zip(golden["frames"], golden["sizes"], strict=True))
    ]
    network = MultiCropNetwork(Codes(), nn.Identity())
    for who, seen in (("student", views), ("teacher", views[:2])):
        calls: list[list[int]] = []
        codes = network(seen).logits[:, 0].int().tolist()
        assert calls == golden[f"backbone_calls_{who}"]
        assert codes == golden[f"codes_{who}"]


def test_views_of_equal_shape_that_do_not_follow_each_other_keep_their_order() -> None:
    views = [torch.full((2, 1, t, 1, 1), float(v)) for v, t in enumerate((1, 2, 1, 3, 2))]
    network = MultiCropNetwork(nn.Flatten(2), nn.Identity())
    network.backbone.forward = lambda clips: clips[:, :, 0, 0, 0]  # type: ignore[method-assign]
    assert network(views).logits[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
