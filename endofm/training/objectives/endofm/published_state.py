"""Continuing a published training checkpoint: both networks with their heads, and the centre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from endofm.errors import CheckpointFormatError, StateDictError
from endofm.hub.tensor_file import is_weight_type, unwrapped_name
from endofm.training.objectives.endofm.cross_view_loss import CrossViewLoss
from endofm.training.objectives.endofm.multicrop import MultiCropNetwork

_SHOWN = 4
"""Largest number of problems that a message lists."""


def load_training_state(
    content: Mapping[str, Any],
    student: MultiCropNetwork,
    teacher: MultiCropNetwork,
    loss: CrossViewLoss,
    *,
    source: str = "checkpoint",
) -> None:
    """Load the state of a published training run into both networks and the loss.

    Two layouts are accepted: training checkpoints such as ``endo_fm.pth`` (``student``, ``teacher``, and ``dino_loss``
    with the ``center``), and the flat files that such runs start from (``kinetics400_vitb_ssl.pth``: one network with
    its head, loaded into both; the centre is not changed). The moments of the optimiser are not loaded: a new
    run warms up.

    Args:
        content: Result of :func:`endofm.hub.checkpoint_file.read_checkpoint`.
        student: Modified in place.
        teacher: Modified in place.
        loss: Its centre is modified in place.
        source: Name of the file, for messages.

    Raises:
        CheckpointFormatError: If the content has neither layout.
        StateDictError: If tensors are missing, unexpected or of another shape, e.g. for another width of the head.
    """
    if isinstance(content.get("student"), Mapping) and isinstance(content.get("teacher"), Mapping):
        parts = {"student": content["student"], "teacher": content["teacher"]}
        center = content.get("dino_loss", {}).get("center")
        if not isinstance(center, Tensor):
            raise CheckpointFormatError(f"{source}: there is no centre (dino_loss, center) in this training checkpoint")
    elif any(unwrapped_name(str(name)).startswith("head.") for name in content):
        parts = {"student": content, "teacher": content}
        center = loss.center
    else:
        raise CheckpointFormatError(
            f"{source}: not a training checkpoint: it has neither the entries student and teacher nor a projection "
            "head. Its encoder alone can be a start, without head and centre"
        )
    if center.shape != loss.center.shape:
        raise StateDictError(
            f"{source}: its centre has the shape {tuple(center.shape)}, not {tuple(loss.center.shape)}"
        )
    for name, network in (("student", student), ("teacher", teacher)):
        _load(network, parts[name], f"{source}: {name}")
    with torch.no_grad():
        loss.center.copy_(center)


def _load(network: MultiCropNetwork, tensors: Mapping[str, Any], source: str) -> None:
    loaded = _unparametrized({unwrapped_name(str(name)): value for name, value in tensors.items()})
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in loaded]
    problems += [f"{name} is not expected" for name in loaded if name not in expected]
    for name, value in loaded.items():
        if not isinstance(value, Tensor) or (name in expected and value.shape != expected[name].shape):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            own = tuple(expected[name].shape) if name in expected else "nothing"
            problems.append(f"{name} is {shape}, not {own}")
        elif name in expected and not is_weight_type(value.dtype, like=expected[name].dtype):
            problems.append(f"{name} is {value.dtype}, not {expected[name].dtype}")
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise StateDictError(f"{source}: does not fit this run's networks: {'; '.join(problems[:_SHOWN])}{more}")
    network.load_state_dict(loaded)


def _unparametrized(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors of a parametrised weight normalisation to ``*.weight_g`` and ``*.weight_v``.

    ``torch.nn.utils.weight_norm`` stores g and v; its successor in ``torch.nn.utils.parametrizations`` numbers them.
    """
    return {
        name.replace(".parametrizations.weight.original0", ".weight_g").replace(
            ".parametrizations.weight.original1", ".weight_v"
        ): value
        for name, value in tensors.items()
    }
