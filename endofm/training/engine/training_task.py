"""Interface between the training loop and an objective or downstream task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from endofm.layers.block import DividedSpaceTimeBlock

Weights = Mapping[str, Mapping[str, Tensor]]
"""Full state dicts on the CPU by part: ``"network"`` and the names of the helpers."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Length of a run, known before the first step and the same on every process.

    Attributes:
        steps_per_epoch: Optimisation steps per epoch.
        total_steps: Optimisation steps of the whole run.
        batch_size: Clips per step, over all processes.
        world_size: Number of processes.
    """

    steps_per_epoch: int
    total_steps: int
    batch_size: int
    world_size: int = 1

    @property
    def epochs(self) -> int:
        """Number of epochs, a partial one included."""
        return -(-self.total_steps // self.steps_per_epoch)

    def epoch(self, step: int) -> int:
        """Return the epoch of a step, both counted from 0."""
        return step // self.steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class LoaderSpec:
    """The part of the data that a process loads, and how it loads it.

    Attributes:
        rank: Index of this process.
        world_size: Number of processes.
        batch_size: Clips per batch of this process; with gradient accumulation a step takes several batches.
        num_workers: Data workers of this process.
        pin_memory: Whether the batches go to a GPU.
    """

    rank: int
    world_size: int
    batch_size: int
    num_workers: int
    pin_memory: bool


class TrainingData(Protocol):
    """Batches of a process, epoch after epoch, in an order that depends on the seed and the epoch alone.

    :class:`~endofm.data.loader.ClipLoader` is an implementation. An empty batch (``len(batch) == 0``) stands for clips
    that could not be read. Reading must not draw from the global random generators.
    """

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        ...

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Set the epoch to iterate over next, and its first batch; earlier batches are not read."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the epoch, from the first one that was set."""
        ...


DataFactory = Callable[[LoaderSpec], TrainingData]
"""Makes the data of one process; called once, when the number of processes is known."""


@dataclass(frozen=True)
class StepOutput:
    """Result of a training step.

    Attributes:
        loss: Scalar with a gradient, mean over the clips of this process.
        metrics: Further scalars by name, without a gradient; the logs show their mean over steps and processes.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HealthRule:
    """Healthy range of a metric.

    Attributes:
        metric: Name of a logged metric.
        low: Smallest healthy value.
        high: Largest healthy value.
        after_steps: First steps of the run, in which the rule is not applied.
        rows: Consecutive rows of the log that must break the rule before it counts.
        meaning: Explanation and remedies, in sentences, for the message.
    """

    metric: str
    low: float = float("-inf")
    high: float = float("inf")
    after_steps: int = 0
    rows: int = 5
    meaning: str


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Description of a run, for the card of the exported model.

    Attributes:
        config: Resolved configuration as plain values.
        plan: Length of the run.
        step: Steps done.
        metrics: Last value of every metric.
        best_step: Step of the best validation, None without one.
        seconds: Duration of the run.
        device: Name of the device.
        notes: Warnings for users of the weights.
    """

    config: Mapping[str, Any]
    plan: Plan
    step: int
    metrics: Mapping[str, float]
    best_step: int | None
    seconds: float
    device: str
    notes: Sequence[str] = ()


class TrainingTask(ABC):
    """A network, its optimiser, and one training step.

    A task is built on the CPU with its initial weights, the same on every process. The loop then calls, in this order::

        prepare(plan)                  once
        make_optimizer()               once, when the network is on its device (and sharded, under FSDP)
        for every step:
            schedule(optimizer, step)      learning rate and other values of this step
            training_step(network, batch, step)    forward; once per accumulated part, in the run's precision
            (backward; gradients are averaged over processes and unscaled)
            after_backward(step)           clip, freeze
            (optimizer step)
            after_step(step)               update a teacher, a queue
        for every n-th epoch:
            validate(epoch)
        export(folder, weights, summary)   at the end, on the first process

    Steps count from 0 over the whole run. Everything that a later step depends on must be in ``network``, in
    ``helpers``, in the optimiser, or in ``extra_state``: these and the random generators are what a checkpoint holds.

    Attributes:
        network: The module that the optimiser trains. It is wrapped for several devices and mixed precision, so its
            forward must be called through the argument ``network`` of :meth:`training_step`, preferably once per step.
        helpers: Further modules with state, by name, e.g. a teacher or a loss with its centre. They are moved to the
            device and saved, but not wrapped; only the task itself uses them.
        shard_units: Classes of modules that FSDP shards one by one.
        find_unused_parameters: Whether steps may leave some parameters of the network without a gradient (DDP).
        extra_health_rules: Rules in addition to those of :meth:`health_rules`, set by the caller of the run.
    """

    network: nn.Module
    helpers: Mapping[str, nn.Module] = {}
    shard_units: tuple[type[nn.Module], ...] = (DividedSpaceTimeBlock,)
    find_unused_parameters: bool = False
    extra_health_rules: Sequence[HealthRule] = ()

    def prepare(self, plan: Plan) -> None:
        """Receive the length of the run, e.g. to build schedules."""
        self.plan = plan

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser over the parameters of ``network``."""

    def schedule(self, optimizer: torch.optim.Optimizer, step: int) -> Mapping[str, float]:
        """Set the values that change from step to step, as a function of ``step`` alone; return them for the logs."""
        return {}

    @abstractmethod
    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of one batch.

        Args:
            network: The wrapped ``self.network``, with the same signature.
            batch: A batch of the data, its tensors on the device.
            step: Index of the step, from 0.
        """

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Modify the gradients of ``self.network`` before the optimiser step; return metrics."""
        return {}

    def after_step(self, step: int) -> None:
        """Update state that depends on the new weights; called without gradients."""
        return

    def set_training(self, mode: bool) -> None:
        """Put the modules in training or evaluation mode; called before the first step and around validation."""
        self.network.train(mode)

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Return validation metrics after an epoch (from 0).

        Called on every process, without gradients and in evaluation mode. The first process's metrics are used.
        """
        return {}

    def extra_state(self) -> dict[str, Any]:
        """Return further state for checkpoints: tensors, numbers, strings, and lists and dictionaries of these."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`extra_state` returned."""
        return

    def health_rules(self) -> Sequence[HealthRule]:
        """Return the healthy ranges of metrics; see :mod:`endofm.training.engine.health`."""
        return ()

    def export(self, folder: Path, weights: Weights, summary: RunSummary) -> None:
        """Write the trained model to a folder that does not exist yet, for inference.

        Called on the first process only, with state dicts of the last or the best checkpoint rather than the modules.
        """
        return
