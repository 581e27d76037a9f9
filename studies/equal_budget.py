"""Equal budgets: number of training steps within a number of floating-point operations.

Seconds on a shared machine depend on its other load, and a clip costs one objective ten small views and another six
large ones. Operations are therefore counted, forward and backward, teacher included, by running single steps under
``torch.utils.flop_counter``. Seconds are reported as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from endofm.config import ModelConfig
from endofm.data.clip_dataset import ClipDataset
from endofm.data.loader import ClipLoader
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import Plan
from endofm.training.objectives.pretraining_task import ObjectiveParts, Start
from endofm.training.pretrain import build_objective
from endofm.training.pretrain_config import Objective

SAMPLES = 6
"""Steps that are counted, spread over the run: some terms of a loss start later."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Length of a run within a budget.

    Attributes:
        steps: Optimisation steps.
        epochs: Epochs, a partial one included.
        tflop_per_step: Mean over the run, in 10^12 operations.
    """

    steps: int
    epochs: int
    tflop_per_step: float


def make_parts(objective: Objective, model: ModelConfig) -> ObjectiveParts:
    """Return task, sampler and transform of an objective; its weights come from torch's generator."""
    return build_objective(objective, Start(model=model))


def make_loader(parts: ObjectiveParts, clips: Path, batch_size: int, seed: int) -> ClipLoader:
    """Return batches of the training clips."""
    data = ClipDataset(clips, sampler=parts.sampler, transform=parts.transform, seed=seed)
    return ClipLoader(data, batch_size, drop_last=True)


def steps_within(
    tflop: float,
    objective: Callable[[int], Objective],
    model: ModelConfig,
    clips: Path,
    *,
    batch_size: int,
    steps_per_epoch: int,
) -> Budget:
    """Count the cost of an objective's steps and return how many fit into a budget.

    Args:
        tflop: The budget, in 10^12 operations.
        objective: Returns the objective for a number of epochs.
        model: Architecture and preprocessing.
        clips: Folder of training clips.
        batch_size: Clips per step.
        steps_per_epoch: Steps per epoch.
    """
    epochs = 100
    # Some terms start after a fraction of the run, so that the mean cost depends on the length that is sought: iterate.
    for _ in range(3):
        plan = Plan(steps_per_epoch=steps_per_epoch, total_steps=epochs * steps_per_epoch, batch_size=batch_size)
        cost = _tflop_per_step(objective(epochs), model, clips, plan)
        steps = max(round(tflop / cost), 1)
        if ceil(steps / steps_per_epoch) == epochs:
            break
        epochs = ceil(steps / steps_per_epoch)
    return Budget(steps=steps, epochs=epochs, tflop_per_step=cost)


def _tflop_per_step(objective: Objective, model: ModelConfig, clips: Path, plan: Plan) -> float:
    seed_all(0)
    parts = make_parts(objective, model)
    task = parts.task
    task.prepare(plan)
    task.make_optimizer()
    task.set_training(True)
    batch = next(iter(make_loader(parts, clips, plan.batch_size, 0)))
    counts = []
    for sample in range(SAMPLES):
        # The counter does not know the fused attention of CPUs; the plain one does the same operations.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            step = int((sample + 0.5) / SAMPLES * plan.total_steps)
            task.training_step(task.network, batch, step).loss.backward()
        counts.append(counter.get_total_flops() / 1e12)
        task.network.zero_grad(set_to_none=True)
    return sum(counts) / len(counts)
