"""State dicts as full tensors on the CPU, whatever the strategy; and back.

Under FSDP parameters and the optimiser's moments are distributed tensors. Checkpoints hold full ones under the
parameters' names, so that a run can be resumed with another strategy or another number of devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from endofm.errors import CheckpointFormatError
from endofm.training.engine.distributed import full_tensor, rank


def module_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state dict as full CPU tensors on the first process; to be called on every process."""
    return {name: _on_cpu(value) for name, value in module.state_dict().items()}


def load_module_state(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Restore the state that :func:`module_state` returned.

    Args:
        module: Module to load into.
        state: Full tensors by name.
        source: Name of the checkpoint, for messages.

    Raises:
        CheckpointFormatError: If names or shapes do not match.
    """
    current = module.state_dict()
    matched = {name: _like(current[name], value) if name in current else value for name, value in state.items()}
    try:
        module.load_state_dict(matched, strict=True)
    except RuntimeError as error:
        raise CheckpointFormatError(f"{source}: holds another network than this run's: {error}") from error


def optimizer_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Any]:
    """Return the optimiser's state by names of parameters on the first process; to be called on every process."""
    # PyTorch numbers parameters in the order of the groups. Names are independent of it, and readable in a checkpoint.
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    state = {
        names[parameter]: {key: _on_cpu(value) if isinstance(value, Tensor) else value for key, value in values.items()}
        for parameter, values in optimizer.state.items()
    }
    groups = [
        {
            **{key: value for key, value in group.items() if key != "params"},
            "names": [names[p] for p in group["params"]],
        }
        for group in optimizer.param_groups
    ]
    return {"state": state, "groups": groups}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, module: nn.Module, saved: Mapping[str, Any], source: str
) -> None:
    """Restore the state that :func:`optimizer_state` returned.

    Args:
        optimizer: Optimiser to load into.
        module: Module whose parameters it trains.
        saved: State by names of parameters.
        source: Name of the checkpoint, for messages.

    Raises:
        CheckpointFormatError: If the parameter groups do not match.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    current = [[names[parameter] for parameter in group["params"]] for group in optimizer.param_groups]
    if current != [list(group["names"]) for group in saved["groups"]]:
        raise CheckpointFormatError(f"{source}: its optimiser trained other parameters than this run's")
    numbers = dict(_numbered(optimizer))
    parameters = {name: parameter for parameter, name in names.items()}
    state = {
        numbers[parameters[name]]: {
            key: _like(parameters[name], value) if isinstance(value, Tensor) else value for key, value in values.items()
        }
        for name, values in saved["state"].items()
    }
    groups = [
        {
            **{key: value for key, value in group.items() if key != "names"},
            "params": [numbers[parameters[n]] for n in group["names"]],
        }
        for group in saved["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _numbered(optimizer: torch.optim.Optimizer) -> Iterator[tuple[Tensor, int]]:
    """Number parameters as ``Optimizer.state_dict`` does."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return ((parameter, number) for number, parameter in enumerate(parameters))


def _on_cpu(tensor: Tensor) -> Tensor:
    """Return a full tensor on the CPU of the first process, which writes it, and an empty one on the others."""
    # Gathering is a collective: every process takes part, although only one keeps the result.
    full = full_tensor(tensor.detach())
    return full.cpu() if rank() == 0 else full.new_empty(0)


def _like(model: Tensor, value: Tensor) -> Tensor:
    """Shard a full tensor like another of the same shape."""
    if isinstance(model, DTensor) and model.shape == value.shape:
        # Every process has read the full tensor, so none is sent: src_data_rank=None slices locally.
        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements, src_data_rank=None)
    return value
