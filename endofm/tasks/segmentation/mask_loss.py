"""Loss of segmentation networks: cross-entropy and Dice, equally weighted (med-air/Endo-FM, ``TransUNet/utils.py``)."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

_SMOOTH = 1e-5


class MaskLoss(NamedTuple):
    """The two terms of the loss, and their weighted sum.

    Attributes:
        total: The minimised sum.
        cross_entropy: Mean over pixels.
        dice: Mean over classes of one minus Dice.
    """

    total: Tensor
    cross_entropy: Tensor
    dice: Tensor


def mask_loss(logits: Tensor, labels: Tensor, *, dice_weight: float = 0.5, dice_per_clip: bool = False) -> MaskLoss:
    """Compare logits with true masks.

    With ``p`` the predicted probabilities and ``t`` the one-hot truth of a class, summed over pixels::

        dice loss = mean over classes of 1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s),  s = 1e-5
        total     = (1 - w) * cross-entropy + w * dice loss

    The denominator has squared sums (V-Net, arXiv 1606.04797, section 3), and every class counts, including the
    background. Computed in float32 at least, because sums over the pixels of a clip exceed the range of half precision.

    Args:
        logits: ``(batch, classes, ...)``, for instance ``(batch, classes, time, height, width)``.
        labels: Class of each pixel, int64 ``(batch, ...)``.
        dice_weight: Weight ``w`` of Dice in the total, in [0, 1].
        dice_per_clip: Compute Dice for each element of the batch and average, rather than over all of them at once. The
            two agree for the published batch of one clip.

    Returns:
        Scalars.
    """
    # Double precision, as in gradient checks, is kept.
    logits = logits if logits.element_size() > 4 else logits.float()
    cross_entropy = F.cross_entropy(logits, labels)
    probabilities = logits.softmax(dim=1)
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(probabilities)
    first = 1 if dice_per_clip else 0
    axes = tuple(axis for axis in range(first, logits.ndim) if axis != 1)
    overlap = (probabilities * truth).sum(axes)
    # A one-hot truth equals its square.
    squares = (probabilities * probabilities).sum(axes) + truth.sum(axes)
    # The smoothing makes the Dice of a class that neither occurs nor is predicted 1, not 0 / 0.
    dice = (1 - (2 * overlap + _SMOOTH) / (squares + _SMOOTH)).mean()
    return MaskLoss((1 - dice_weight) * cross_entropy + dice_weight * dice, cross_entropy, dice)
