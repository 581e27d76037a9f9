"""Parameter groups with and without weight decay."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

EMBEDDINGS = frozenset({"cls_token", "pos_embed", "time_embed"})
"""Last parts of the names of the encoder's class token and embeddings."""


class ParameterGroups(NamedTuple):
    """Names of the trainable parameters, each in the module's order.

    Attributes:
        decayed: Parameters that weight decay acts on.
        not_decayed: The others.
    """

    decayed: list[str]
    not_decayed: list[str]


def split_by_decay(module: nn.Module, *, decay_embeddings: bool) -> ParameterGroups:
    """Split the trainable parameters into those with weight decay and those without.

    Biases and vectors (norms) have none. Nor have the class token and the position and time embeddings, unless
    requested: the published model declares them exempt, but its training script decays them.

    Args:
        module: Module whose parameters are split; those that require no gradient are in neither group.
        decay_embeddings: Decay the class token and the embeddings, as published.
    """
    groups = ParameterGroups([], [])
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        embedding = name.rpartition(".")[2] in EMBEDDINGS
        exempt = name.endswith(".bias") or parameter.ndim == 1 or (embedding and not decay_embeddings)
        (groups.not_decayed if exempt else groups.decayed).append(name)
    return groups
