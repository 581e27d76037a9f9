"""A run in progress: all state that changes from step to step, saved to and restored from checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from endofm.errors import CheckpointFormatError, ConfigError, InputError
from endofm.training.engine import random_state
from endofm.training.engine.devices import on_first_process
from endofm.training.engine.full_state import load_module_state, load_optimizer_state, module_state, optimizer_state
from endofm.training.engine.health import HealthMonitor
from endofm.training.engine.loggers import Row
from endofm.training.engine.run_checkpoints import read_run_checkpoint
from endofm.training.engine.run_folder import RunFolder
from endofm.training.engine.run_metrics import BestValidation, RunningMeans
from endofm.training.engine.training_task import DataFactory, LoaderSpec, Plan, TrainingTask
from endofm.training.run_config import RunConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Session:
    """A task on its devices, with data, optimiser and counters.

    Args:
        fabric: Processes and precision.
        task: The task.
        data: Makes the data of this process.
        run: Run settings.
        home: Folder of the run.

    Attributes:
        network: The wrapped network.
        optimizer: The task's optimiser.
        stepper: The optimiser wrapped by Fabric, which steps correctly in mixed precision.
        scaler: Loss scaler of float16, else None.
        plan: Length of the run.
        step: Steps done.
        history: Rows of the log so far.
        seconds_before: Seconds that earlier parts of the run took.

    Raises:
        ConfigError: If settings do not fit the task or the data.
    """

    def __init__(self, fabric: Fabric, task: TrainingTask, data: DataFactory, run: RunConfig, home: RunFolder) -> None:
        self.fabric, self.task, self.run, self.home = fabric, task, run, home
        spec = LoaderSpec(
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            batch_size=run.batch_size // (fabric.world_size * run.accumulate),
            num_workers=run.num_workers,
            pin_memory=fabric.device.type == "cuda",
        )
        self.data = data(spec)
        self.plan = _plan(run, len(self.data) // run.accumulate, fabric.world_size)
        # Initial weights were drawn alike on every process; from here on each draws its own stochastic depth.
        random_state.seed_all(run.seed, fabric.global_rank)
        task.prepare(self.plan)
        if run.grad_checkpointing:
            _checkpoint_gradients(task.network)
        if run.compile:
            task.network.compile()
        self.network = fabric.setup_module(task.network)
        for helper in task.helpers.values():
            self._place(helper)
        # After sharding: the optimiser must hold the parameters that exist then.
        self.optimizer = task.make_optimizer()
        self.stepper: Any = fabric.setup_optimizers(self.optimizer)
        self.scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
        self.step = 0
        self.history: list[Row] = []
        self.seconds_before = 0.0
        self.means = RunningMeans(fabric.device)
        self.best = BestValidation(run)
        self.health = HealthMonitor([*task.health_rules(), *task.extra_health_rules])
        task.set_training(True)

    @property
    def done(self) -> bool:
        """Whether the run is complete."""
        return self.step >= self.plan.total_steps or self.best.exhausted

    def save(self, config: dict[str, Any], seconds: float) -> None:
        """Write a checkpoint; to be called on every process."""
        task = self.task
        content = {
            "config": config,
            "step": self.step,
            "world_size": self.fabric.world_size,
            "network": module_state(task.network),
            "helpers": {name: module_state(helper) for name, helper in task.helpers.items()},
            "optimizer": optimizer_state(self.optimizer, task.network),
            "scaler": self.scaler.state_dict() if self.scaler else {},
            "task": task.extra_state(),
            "meter": self.means.state(),
            "monitor": self.best.state(),
            "health": self.health.state(),
            "history": self.history,
            "seconds": seconds,
            "random": self._random_states(),
        }
        keep, best = self.run.keep, self.best.best_step
        on_first_process(self.fabric, lambda: self.home.checkpoints.write(self.step, content, keep=keep, best=best))

    def restore(self, path: Path) -> list[str]:
        """Restore a checkpoint; to be called on every process.

        Returns:
            Warnings about differences from the earlier part of the run.

        Raises:
            CheckpointFormatError: If the checkpoint does not fit the task.
        """
        content = read_run_checkpoint(path)
        task, source = self.task, str(path)
        try:
            load_module_state(task.network, content["network"], source)
            if set(content["helpers"]) != set(task.helpers):
                raise CheckpointFormatError(
                    f"{source}: holds other parts than this run's: {', '.join(content['helpers'])}"
                )
            for name, helper in task.helpers.items():
                load_module_state(helper, content["helpers"][name], source)
            load_optimizer_state(self.optimizer, task.network, content["optimizer"], source)
            if self.scaler and content["scaler"]:
                self.scaler.load_state_dict(content["scaler"])
            task.load_extra_state(content["task"])
            self.means.load_state(content["meter"])
            self.best.load_state(content["monitor"])
            self.health.load_state(content["health"])
            self.step, self.history = content["step"], content["history"]
            self.seconds_before = content["seconds"]
            states = content["random"]
        except KeyError as error:
            raise CheckpointFormatError(f"{source}: this checkpoint lacks {error}") from error
        if len(states) == self.fabric.world_size:
            random_state.restore(states[self.fabric.global_rank])
            return []
        # Each process saved its own generators, and these no longer match the processes: draw from a new seed.
        random_state.seed_all(self.run.seed + self.step, self.fabric.global_rank)
        return [
            f"the run had {len(states)} processes and now has {self.fabric.world_size}: random draws from here on "
            "differ from those of an uninterrupted run"
        ]

    def _place(self, helper: nn.Module) -> None:
        """Move a helper to the device; under FSDP it is sharded like the network, so that their shards match."""
        if self.run.strategy == "fsdp" and any(True for _ in helper.parameters()):
            self.fabric.strategy.setup_module(helper)
        helper.to(self.fabric.device)

    def _random_states(self) -> list[dict[str, Any]]:
        own = random_state.capture()
        if self.fabric.world_size == 1:
            return [own]
        states: list[Any] = [None] * self.fabric.world_size
        dist.all_gather_object(states, own)
        return states


def _plan(run: RunConfig, steps_per_epoch: int, world_size: int) -> Plan:
    if steps_per_epoch < 1:
        raise InputError(
            f"the data give less than one step: a step takes {run.batch_size} clips (run.batch_size); add clips or "
            "reduce the batch size"
        )
    total = run.epochs * steps_per_epoch
    if run.max_steps is not None:
        total = min(total, run.max_steps)
    return Plan(steps_per_epoch=steps_per_epoch, total_steps=total, batch_size=run.batch_size, world_size=world_size)


def _checkpoint_gradients(network: nn.Module) -> None:
    capable: list[Any] = [module for module in network.modules() if hasattr(module, "set_grad_checkpointing")]
    if not capable:
        raise ConfigError("run.grad_checkpointing: this network has no blocks that can be recomputed; set it to false")
    for module in capable:
        module.set_grad_checkpointing(True)
