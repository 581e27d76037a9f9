"""Equal budgets: how many steps of an objective a number of floating-point operations pays for.

Seconds on a shared machine say more about the neighbours than about the objective, and a clip costs one objective ten
small views and another six large ones. So operations are counted, forward and backward, teacher included, by running
single steps under ``torch.utils.flop_counter``. Seconds are reported beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

from settings import StudyConfig
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from endofm.data.clip_dataset import ClipDataset
from endofm.data.loader import ClipLoader
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import Plan
from endofm.training.objectives.endofm.endofm_task import build as build_distillation
from endofm.training.objectives.pretraining_task import ObjectiveParts, Start
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_task import build as build_vcl

PLACES = 6
"""Steps that are counted, spread over the run: parts of a loss may begin later."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a budget comes to for one arm.

    Attributes:
        steps: Optimisation steps.
        epochs: Epochs that they touch.
        tflop_per_step: Mean over the run, in 10^12 operations.
    """

    steps: int
    epochs: int
    tflop_per_step: float


def make_parts(study: StudyConfig, arm: str, epochs: int) -> ObjectiveParts:
    """Return the objective of an arm; its weights come from torch's generator."""
    config, start = study.objective(arm, epochs), Start(model=study.model())
    return build_vcl(config, start) if isinstance(config, VCLConfig) else build_distillation(config, start)


def make_loader(study: StudyConfig, parts: ObjectiveParts, clips: Path, seed: int) -> ClipLoader:
    """Return batches of the clips that are trained on."""
    data = ClipDataset(clips, sampler=parts.sampler, transform=parts.transform, seed=seed)
    return ClipLoader(data, study.batch_size, drop_last=True)


def spend(study: StudyConfig, arm: str, clips: Path) -> Budget:
    """Count what steps of an arm cost and return how many the budget pays for."""
    steps_per_epoch = study.data.pretrain_clips // study.batch_size
    epochs = 100
    for _ in range(3):  # schedules, and with them costs, depend on the length that is looked for
        cost = _tflop_per_step(study, arm, clips, epochs * steps_per_epoch, steps_per_epoch)
        steps = max(round(study.budget_tflop / cost), 1)
        if ceil(steps / steps_per_epoch) == epochs:
            break
        epochs = ceil(steps / steps_per_epoch)
    return Budget(steps=steps, epochs=epochs, tflop_per_step=cost)


def _tflop_per_step(study: StudyConfig, arm: str, clips: Path, total: int, steps_per_epoch: int) -> float:
    seed_all(0)
    parts = make_parts(study, arm, ceil(total / steps_per_epoch))
    task = parts.task
    task.prepare(Plan(steps_per_epoch=steps_per_epoch, total_steps=total, batch_size=study.batch_size))
    task.make_optimizer()
    task.set_training(True)
    batch = next(iter(make_loader(study, parts, clips, 0)))
    counts = []
    for place in range(PLACES):
        # The fused attention of CPUs is not counted; the plain one is, and does the same.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            task.training_step(task.network, batch, int((place + 0.5) / PLACES * total)).loss.backward()
        counts.append(counter.get_total_flops() / 1e12)
        task.network.zero_grad(set_to_none=True)
    return sum(counts) / len(counts)
