"""The loss, against the published code and by properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.tasks.segmentation.mask_loss import mask_loss
from helpers.segmentation_fill import LOSS_CASES, loss_case, sample


@pytest.mark.parametrize("name", LOSS_CASES)
def test_the_originals_values_and_gradients(golden: dict[str, np.ndarray], name: str) -> None:
    arrays = loss_case(name)
    logits, labels = torch.from_numpy(arrays[0]).requires_grad_(), torch.from_numpy(arrays[1])
    loss = mask_loss(logits, labels)
    loss.total.backward()
    values = [loss.cross_entropy.item(), loss.dice.item(), loss.total.item()]
    np.testing.assert_allclose(values, golden[f"loss/{name}/ce_dice_total"], rtol=0, atol=1e-6)
    assert logits.grad is not None
    gradient = sample(logits.grad.numpy(), 512)
    np.testing.assert_allclose(gradient, golden[f"loss/{name}/grad_sample"], rtol=0, atol=1e-7)


def test_a_batch_of_one_clip_is_the_clip() -> None:
    logits, labels = (torch.from_numpy(array) for array in loss_case("mixed"))
    as_batch = (logits.transpose(0, 1)[None], labels[None])
    for per_clip in (False, True):
        assert torch.allclose(mask_loss(*as_batch, dice_per_clip=per_clip).total, mask_loss(logits, labels).total)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 3), classes=st.integers(2, 4))
def test_dice_per_clip_is_the_mean_over_clips(seed: int, batch: int, classes: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, 2, 5, 6, generator=draws)
    labels = torch.randint(classes, (batch, 2, 5, 6), generator=draws)
    together = mask_loss(logits, labels, dice_per_clip=True)
    alone = [mask_loss(logits[i : i + 1], labels[i : i + 1]) for i in range(batch)]
    assert torch.allclose(together.dice, torch.stack([loss.dice for loss in alone]).mean())
    assert 0 <= together.dice <= 1


def test_half_precision_logits_give_a_finite_loss_over_many_pixels() -> None:
    logits = torch.zeros(1, 2, 8, 128, 128, dtype=torch.float16)
    loss = mask_loss(logits, torch.zeros(1, 8, 128, 128, dtype=torch.int64))
    assert loss.total.dtype is torch.float32
    assert torch.isfinite(loss.total)
