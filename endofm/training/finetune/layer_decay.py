"""Layer-wise learning rates: lower blocks of a pretrained encoder learn more slowly."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from endofm.models.pretrained import Pretrained
from endofm.training.transfer.base import backbone_of, trainable_parameters
from endofm.training.transfer.methods import is_inserted


def layer_rates(
    model: Pretrained, *, backbone_rate: float, layer_decay: float
) -> Iterator[tuple[str, nn.Parameter, float]]:
    """Yield the trainable parameters with their learning rate as a multiple of the head's.

    With ``depth`` blocks, the final norm of the encoder has the rate ``backbone_rate``, block ``i`` (from 0) the rate
    ``backbone_rate * layer_decay ** (depth - i)``, and the embeddings below the first block
    ``backbone_rate * layer_decay ** (depth + 1)`` (arXiv 2106.08254, appendix).

    Args:
        model: A model with an encoder ``backbone``, prepared for its transfer method.
        backbone_rate: Rate of the encoder's top as a multiple of the head's.
        layer_decay: Rate of a block as a multiple of that of the block above it.
    """
    # A network without such blocks learns as a whole at the rate of an encoder's top.
    blocks = getattr(backbone_of(model), "blocks", None)
    depth = len(blocks) if isinstance(blocks, nn.ModuleList) else 0
    for name, parameter in trainable_parameters(model):
        rate = 1.0
        # Inserted parameters start from random or zero values, like the head, and learn at its rate.
        if name.startswith("backbone.") and not is_inserted(name):
            part = name.split(".")
            top = part[1] == "norm" or not depth
            level = int(part[2]) + 1 if part[1] == "blocks" else depth + 1 if top else 0
            rate = backbone_rate * layer_decay ** (depth + 1 - level)
        yield name, parameter, rate
