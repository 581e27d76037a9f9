"""Which parameters weight decay acts on."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

EMBEDDINGS = frozenset({"cls_token", "pos_embed", "time_embed"})
"""Last parts of the names of the encoder's token and tables."""


class ParameterGroups(NamedTuple):
    """Names of the parameters that are trained, each in the module's order."""

    decayed: list[str]
    kept: list[str]


def split_by_decay(module: nn.Module, *, decay_embeddings: bool) -> ParameterGroups:
    """Share the trained parameters out to those that weight decay acts on and those that it leaves alone.

    Biases and vectors (norms) are left alone. So are the class token and the position and time tables, unless asked
    for: the original's model declares that they should be, but its training script decays them.

    Args:
        module: Module whose parameters are shared out; those that need no gradient are in neither group.
        decay_embeddings: Decay the class token and the tables, as published.
    """
    groups = ParameterGroups([], [])
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        embedding = name.rpartition(".")[2] in EMBEDDINGS
        left_alone = name.endswith(".bias") or parameter.ndim == 1 or (embedding and not decay_embeddings)
        (groups.kept if left_alone else groups.decayed).append(name)
    return groups
