"""Processes and devices of a run, set up with Lightning Fabric."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from endofm.errors import ConfigError, EndoFMError, require_extra
from endofm.training.engine.training_task import TrainingTask
from endofm.training.run_config import RunConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.plugins.precision import Precision
    from lightning_fabric.strategies.strategy import Strategy
    from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")


def open_fabric(run: RunConfig, task: TrainingTask) -> Fabric:
    """Start or join the processes of a run.

    Under ``torchrun`` and ``srun`` the number of processes is theirs; otherwise this process starts the others itself
    by running the same command again.

    Raises:
        ConfigError: If the device is unavailable, or the numbers contradict one another.
        MissingExtraError: If Lightning Fabric is not installed.
    """
    require_extra("lightning_fabric", "train", "Training")
    from lightning_fabric import Fabric

    # It announces every process that joins, in between our own lines.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    accelerator = choose_accelerator(run)
    try:
        devices, num_nodes, environment = _topology(run, accelerator)
    except RuntimeError as error:  # SLURM was given an unusable number of tasks
        raise ConfigError(f"the processes of the run cannot be set up: {error}") from error
    world_size = devices * num_nodes
    per_step = world_size * run.accumulate
    if run.batch_size % per_step:
        raise ConfigError(
            f"run.batch_size {run.batch_size} cannot be divided evenly: {world_size} processes x accumulate "
            f"{run.accumulate} = {per_step} parts; use a multiple of {per_step}"
        )
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            strategy=_strategy(run, task, world_size),
            plugins=[_precision(run, accelerator), environment],
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the processes of the run cannot be set up: {error}") from error
    return fabric


def on_first_process(fabric: Fabric, work: Callable[[], T]) -> T:
    """Call a function on the first process and return its result on all; an error of this package is raised on all."""
    if fabric.world_size == 1:
        return work()
    outcome: Any = None
    if fabric.is_global_zero:
        try:
            outcome = (work(), None)
        except EndoFMError as error:
            outcome = (None, error)
    result, problem = fabric.broadcast(outcome)
    if problem is not None:
        raise problem
    value: T = result
    return value


def _topology(run: RunConfig, accelerator: str) -> tuple[int, int, ClusterEnvironment]:
    """Return processes per machine, number of machines, and the environment that starts them."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        return devices, int(os.environ["WORLD_SIZE"]) // devices, TorchElasticEnvironment()
    # In a job with a single task this process starts the others itself, as on any machine.
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and SLURMEnvironment.detect():
        num_nodes = int(os.environ["SLURM_NNODES"])
        return int(os.environ["SLURM_NTASKS"]) // num_nodes, num_nodes, SLURMEnvironment()
    return _devices(run, accelerator), run.num_nodes, LightningEnvironment()


def choose_accelerator(run: RunConfig) -> str:
    """Return ``"cuda"`` or ``"cpu"``.

    Raises:
        ConfigError: If a GPU is requested and unavailable.
    """
    if run.accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if run.accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "run.accelerator is cuda, but torch finds no GPU here; `endofm doctor` lists what it finds. "
            "Set run.accelerator=cpu to train on the CPU"
        )
    return run.accelerator


def _devices(run: RunConfig, accelerator: str) -> int:
    if accelerator == "cpu":
        return max(run.devices, 1)
    available = torch.cuda.device_count()
    if run.devices > available:
        raise ConfigError(f"run.devices requests {run.devices} GPUs, but {available} are available here")
    return run.devices or available


def _precision(run: RunConfig, accelerator: str) -> Precision:
    from lightning_fabric.plugins.precision import MixedPrecision, Precision

    if run.precision in ("bf16-mixed", "16-mixed"):
        return MixedPrecision(run.precision, device=accelerator)
    return Precision()


def _strategy(run: RunConfig, task: TrainingTask, world_size: int) -> Strategy | str:
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if run.strategy == "fsdp":
        return ModelParallelStrategy(
            lambda module, mesh: shard(module, mesh["data_parallel"], task.shard_units),
            data_parallel_size=world_size,
            tensor_parallel_size=1,
        )
    if world_size == 1:
        return "auto"
    return DDPStrategy(find_unused_parameters=task.find_unused_parameters)


def shard(module: nn.Module, mesh: DeviceMesh, units: tuple[type[nn.Module], ...]) -> nn.Module:
    """Shard a module's parameters over a mesh of devices (FSDP2): units first, then the remaining parameters.

    Args:
        module: The module; modified in place.
        mesh: Devices.
        units: Classes of the submodules that are gathered and freed one at a time.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for part in module.modules():
        if isinstance(part, units):
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
            # FSDP gathers parameters in hooks around forward(); the other entry points of a block need them as well.
            for name in ("forward_cls", "forward_packed", "forward_cls_packed"):
                if hasattr(part, name):
                    register_fsdp_forward_method(part, name)
    # FSDP2 leaves the outermost module gathered after its forward, expecting a backward. A teacher has none, and the
    # moving average needs its shards to match the student's, so it is resharded as well.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return module
