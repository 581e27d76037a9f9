"""Loss of mask networks: cross-entropy and Dice, half and half (Endo-FM at 206427e, ``TransUNet/utils.py``)."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

_SMOOTH = 1e-5


class MaskLoss(NamedTuple):
    """The two terms of the loss, and their weighted sum.

    Attributes:
        total: What is minimised.
        cross_entropy: Mean over pixels.
        dice: Mean over classes of one minus Dice.
    """

    total: Tensor
    cross_entropy: Tensor
    dice: Tensor


def mask_loss(logits: Tensor, labels: Tensor, *, dice_weight: float = 0.5, dice_per_clip: bool = False) -> MaskLoss:
    """Compare logits with true masks.

    Dice has squared sums in its denominator (V-Net, arXiv 1606.04797, section 3) and counts every class, background
    too. Computed in float32 at least, whatever the logits are, because sums over a clip's pixels exceed what half
    precision holds.

    Args:
        logits: ``(batch, classes, ...)``, for instance ``(batch, classes, time, height, width)``.
        labels: Class of each pixel, int64 ``(batch, ...)``.
        dice_weight: Weight of Dice in the total, in [0, 1]; cross-entropy has the rest.
        dice_per_clip: Take Dice over each element of the batch and average, rather than over all of them at once. The
            original, whose batch is one clip, is the same either way.

    Returns:
        Scalars.
    """
    logits = logits if logits.element_size() > 4 else logits.float()
    cross_entropy = F.cross_entropy(logits, labels)
    probabilities = logits.softmax(dim=1)
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(probabilities)
    first = 2 if dice_per_clip else 0
    axes = tuple(axis for axis in range(first, logits.ndim) if axis != 1)
    overlap = (probabilities * truth).sum(axes)
    squares = (probabilities * probabilities).sum(axes) + truth.sum(axes)
    dice = (1 - (2 * overlap + _SMOOTH) / (squares + _SMOOTH)).mean()
    return MaskLoss((1 - dice_weight) * cross_entropy + dice_weight * dice, cross_entropy, dice)
