"""What a run trains: the interface between the loop and any objective or downstream task."""

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
"""Whole state dicts on the CPU by part: ``"network"`` and the names of the helpers."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long the run is; known before the first step and the same on every process.

    Attributes:
        steps_per_epoch: Optimisation steps of an epoch.
        total_steps: Optimisation steps of the whole run.
        batch_size: Clips of a step over all processes.
        world_size: Processes.
    """

    steps_per_epoch: int
    total_steps: int
    batch_size: int
    world_size: int = 1

    @property
    def epochs(self) -> int:
        """Epochs that the run touches, a part of one counted as one."""
        return -(-self.total_steps // self.steps_per_epoch)

    def epoch(self, step: int) -> int:
        """Return the epoch, from 0, that a step belongs to."""
        return step // self.steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of the data that a process is asked to read.

    Attributes:
        rank: Number of this process.
        world_size: Processes.
        batch_size: Clips of one batch of this process; a step takes as many batches as gradients are accumulated over.
        num_workers: Processes that read, for this process.
        pin_memory: Whether the batches go to a GPU.
    """

    rank: int
    world_size: int
    batch_size: int
    num_workers: int
    pin_memory: bool


class TrainingData(Protocol):
    """Batches of a process, epoch after epoch, in an order that depends on the seed and the epoch alone.

    :class:`~endofm.data.loader.ClipLoader` is one. An empty batch (``len(batch) == 0``) stands for clips that could
    not be read. Reading must not draw from the global random generators.
    """

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        ...

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch to iterate over next, and the batch to begin with; those before it are not read."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Return the batches from the chosen one on."""
        ...


DataFactory = Callable[[Share], TrainingData]
"""Makes the data of one process; called once, when the processes are known."""


@dataclass(frozen=True)
class StepOutput:
    """What a training step found.

    Attributes:
        loss: Scalar with a gradient, mean over the clips of this process.
        metrics: Further scalars by name, without a gradient; the logs show their mean over steps and processes.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HealthRule:
    """What must hold of a metric in a healthy run.

    Attributes:
        metric: Name of a logged metric.
        low: Least healthy value.
        high: Greatest healthy value.
        after_steps: Steps at the beginning in which the rule is not applied.
        rows: Rows of the log in a row that must break the rule before it counts.
        meaning: What it means and what to try, as sentences.
    """

    metric: str
    low: float = float("-inf")
    high: float = float("inf")
    after_steps: int = 0
    rows: int = 5
    meaning: str


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What an export says of the run that it comes from.

    Attributes:
        config: Resolved configuration, plain values.
        plan: Length of the run.
        step: Steps that were done.
        metrics: Last value of every metric.
        best_step: Step of the best validation, None without one.
        seconds: Time that the run took so far.
        device: Name of the device.
        notes: Warnings worth telling whoever uses the weights.
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
    """What is trained, step by step.

    A task is built on the CPU with its initial weights, the same on every process. The loop then calls, in this order::

        prepare(plan)                  once
        make_optimizer()               once, when the network lies on its device (and is sharded, under FSDP)
        for every step:
            schedule(optimizer, step)      learning rate and other values of this step
            training_step(network, batch, step)    forward; once per accumulated part, in the run's precision
            (backward, gradients averaged over processes and unscaled)
            after_backward(step)           clip, freeze
            (optimizer step)
            after_step(step)               update a teacher, a queue
        for every n-th epoch:
            validate(epoch)
        export(folder, weights, summary)   at the end, on the first process

    Steps count from 0 over the whole run. Everything that a later step depends on must be in ``network``, in
    ``helpers``, in the optimiser, or in ``extra_state``: these and the random generators are what a checkpoint holds.

    Attributes:
        network: What the optimiser trains. It is wrapped for several devices and mixed precision, so its forward must
            be called through the argument ``network`` of :meth:`training_step`, at best once per step.
        helpers: Further modules with state by name, e.g. a teacher or a loss with its centre. They are moved to the
            device and saved, not wrapped; nothing reaches them but this task.
        shard_units: Classes of modules that FSDP shares out one by one.
        find_unused_parameters: Whether steps may leave some parameters of the network without a gradient (DDP).
        extra_health_rules: Rules beside those of :meth:`health_rules`, from whoever runs the task.
    """

    network: nn.Module
    helpers: Mapping[str, nn.Module] = {}
    shard_units: tuple[type[nn.Module], ...] = (DividedSpaceTimeBlock,)
    find_unused_parameters: bool = False
    extra_health_rules: Sequence[HealthRule] = ()

    def prepare(self, plan: Plan) -> None:
        """Take note of the length of the run, e.g. to lay out schedules."""
        self.plan = plan

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser over the parameters of ``network``."""

    def schedule(self, optimizer: torch.optim.Optimizer, step: int) -> Mapping[str, float]:
        """Set what changes from step to step, as a function of ``step`` alone, and return it for the logs."""
        return {}

    @abstractmethod
    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of one batch.

        Args:
            network: The wrapped ``self.network``; call it like that.
            batch: A batch of the data, its tensors on the device.
            step: Number of the step.
        """

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Change the gradients of ``self.network`` before the optimiser uses them; return metrics."""
        return {}

    def after_step(self, step: int) -> None:
        """Follow the new weights, without gradients."""
        return

    def set_training(self, mode: bool) -> None:
        """Put the modules in training or evaluation mode; called before the first step and around validation."""
        self.network.train(mode)

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Return validation metrics after an epoch (from 0).

        Called on every process, without gradients and in evaluation mode; what the first process returns counts.
        """
        return {}

    def extra_state(self) -> dict[str, Any]:
        """Return further state: tensors, numbers, texts, and lists and dictionaries of these."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`extra_state` returned."""
        return

    def health_rules(self) -> Sequence[HealthRule]:
        """Return what must hold of the metrics; see :mod:`endofm.training.engine.health`."""
        return ()

    def export(self, folder: Path, weights: Weights, summary: RunSummary) -> None:
        """Write the trained model to a folder that does not exist yet, for inference.

        Called on the first process only, with state dicts of the last or the best checkpoint rather than the modules.
        """
        return
