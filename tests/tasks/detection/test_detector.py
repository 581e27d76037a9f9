"""Pyramid, first stage and refinement on stored features, against the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from endofm.tasks.detection.cells import PyramidLevel
from endofm.tasks.detection.detector import DetectionHead
from endofm.tasks.detection.operators import deform_conv2d
from endofm.tasks.detection.refinement import mix_supports
from helpers import detection_fill as fill
from helpers.detection_maps import check_level


def split(levels: list[PyramidLevel]) -> tuple[list[PyramidLevel], list[PyramidLevel]]:
    return [level.select(0) for level in levels], [level.select(slice(1, None)) for level in levels]


@pytest.mark.parametrize(("prefix", "count"), [("small", 3), ("small1", 1), ("small11", 11)])
def test_head_equals_the_original(
    prefix: str, count: int, published_head: DetectionHead, goldens: fill.Goldens
) -> None:
    with torch.inference_mode():
        pyramid = published_head.pyramid.join(fill.features(count))
        levels = published_head.first(pyramid)
        targets, supports = split(levels)
        refined = published_head.refine(targets, supports)
        for i, name in enumerate(fill.LEVELS):
            if prefix == "small":
                check_level(published_head, goldens, prefix, i, pyramid[i], levels[i])
            goldens.check(f"{prefix}/stft_logits/{name}", refined[i].logits[0])
            goldens.check(f"{prefix}/stft_reg/{name}", refined[i].deltas[0])


def test_several_targets_at_once_equal_one_by_one(published_head: DetectionHead) -> None:
    with torch.inference_mode():
        levels = published_head.first(published_head.pyramid.join(fill.features(4)))
        order = torch.tensor([1, 2, 3, 0])  # supports of target 0: frames 1, 2; of target 3: frames 3, 0
        both = published_head.refine(
            [level.select(torch.tensor([0, 3])) for level in levels], [level.select(order) for level in levels]
        )
        alone = published_head.refine(
            [level.select(3) for level in levels], [level.select(order[2:]) for level in levels]
        )
    for two, one in zip(both, alone, strict=True):
        torch.testing.assert_close(two.logits[1:], one.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(two.deltas[1:], one.deltas, rtol=1e-4, atol=1e-5)


def test_order_of_supports_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 3, 4, 5, generator=generator)
    supports = torch.randn(2, 6, 3, 4, 5, generator=generator)
    shuffled = supports[:, torch.tensor([3, 0, 5, 1, 4, 2])]
    torch.testing.assert_close(mix_supports(target, supports), mix_supports(target, shuffled))
    assert torch.equal(mix_supports(target, supports[:, :0]), target)


def test_deformable_convolution_samples_as_the_original(goldens: fill.Goldens) -> None:
    case = fill.deform_case()
    out = deform_conv2d(case["x"], case["offset"], case["weight"], padding=1)
    goldens.check("deform/out", out, 1e-5)
    still = deform_conv2d(case["x"], torch.zeros_like(case["offset"]), case["weight"], padding=1)
    goldens.check("deform/out_zero_offset", still, 1e-5)
    plain = torch.nn.functional.conv2d(case["x"], case["weight"], padding=1)
    np.testing.assert_allclose(still, plain, atol=1e-5)


def test_boxes_of_a_fresh_head_have_an_extent_everywhere() -> None:
    torch.manual_seed(0)
    head = DetectionHead(embed_dim=16, channels=64, norm_groups=8, num_classes=1)
    with torch.inference_mode():
        levels = head.first_stage(torch.randn(2, 16, 4, 4))
    for level in levels:
        # A distance of zero has no gradient; where all are, training is over.
        assert (level.distances > 0).all()
        assert 0.5 < level.distances.mean() / level.stride < 1.5


def test_fresh_head_starts_from_the_published_prior() -> None:
    torch.manual_seed(0)
    head = DetectionHead(embed_dim=16, channels=32, norm_groups=4, num_classes=3)
    with torch.inference_mode():
        levels = head.first_stage(torch.zeros(1, 16, 4, 4))
        refined = head.refine(levels, [level.select(slice(0, 0)) for level in levels])
    for level, second in zip(levels, refined, strict=True):
        assert (level.logits.sigmoid() - 0.01).abs().max() < 0.005
        assert (second.logits.sigmoid() - 0.01).abs().max() < 0.005
    assert all(scale.scale == 1 for scale in head.first.scales)
