"""Going on from a training checkpoint of the original: both networks with their heads, and the centre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from endofm.errors import CheckpointFormatError, StateDictError
from endofm.hub.keys import to_legacy
from endofm.training.objectives.distillation.loss import CrossViewLoss
from endofm.training.objectives.distillation.multicrop import MultiCropNetwork

_WRAPPER = "module."
"""Prefix of the student's names, from DistributedDataParallel."""

_SHOWN = 4


def load_training_state(
    content: Mapping[str, Any],
    student: MultiCropNetwork,
    teacher: MultiCropNetwork,
    loss: CrossViewLoss,
    *,
    where: str = "checkpoint",
) -> None:
    """Give both networks and the loss the state that an original training run saved.

    Known are training checkpoints such as ``endo_fm.pth`` (``student``, ``teacher`` and ``dino_loss`` with the
    ``center``) and the flat files that such runs begin with (``kinetics400_vitb_ssl.pth``: one network with its head,
    given to both; the centre stays as it is). The moments of the optimiser are not taken over: a new run warms up.

    Args:
        content: What :func:`endofm.hub.checkpoint.read_checkpoint` returned.
        student: Written to.
        teacher: Written to.
        loss: Its centre is written to.
        where: Name of the file, for messages.

    Raises:
        CheckpointFormatError: If the content is of neither layout.
        StateDictError: If tensors are missing, unexpected or of another shape, e.g. for another width of the head.
    """
    if isinstance(content.get("student"), Mapping) and isinstance(content.get("teacher"), Mapping):
        parts = {"student": content["student"], "teacher": content["teacher"]}
        center = content.get("dino_loss", {}).get("center")
        if not isinstance(center, Tensor):
            raise CheckpointFormatError(f"{where}: there is no centre (dino_loss, center) in this training checkpoint")
    elif any(str(name).removeprefix(_WRAPPER).startswith("head.") for name in content):
        parts = {"student": content, "teacher": content}
        center = loss.center
    else:
        raise CheckpointFormatError(
            f"{where}: not a training checkpoint: it has neither the entries student and teacher nor a projection "
            "head. Its encoder alone can be a start, without head and centre"
        )
    if center.shape != loss.center.shape:
        raise StateDictError(f"{where}: its centre has the shape {tuple(center.shape)}, not {tuple(loss.center.shape)}")
    for name, network in (("student", student), ("teacher", teacher)):
        _load(network, parts[name], f"{where}: {name}")
    with torch.no_grad():
        loss.center.copy_(center)


def _load(network: MultiCropNetwork, tensors: Mapping[str, Any], where: str) -> None:
    found = to_legacy({str(name).removeprefix(_WRAPPER): value for name, value in tensors.items()})
    wanted = network.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} is not expected" for name in found if name not in wanted]
    for name, value in found.items():
        if not isinstance(value, Tensor) or (name in wanted and value.shape != wanted[name].shape):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            there = tuple(wanted[name].shape) if name in wanted else "nothing"
            problems.append(f"{name} is {shape}, not {there}")
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise StateDictError(f"{where}: does not fit this run's networks: {'; '.join(problems[:_SHOWN])}{more}")
    network.load_state_dict(found)
