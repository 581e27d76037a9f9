"""A task of a few hundred weights with everything a real one has: teacher, centre, schedules, clipping, random draws.

As a script, ``python engine_toy.py FOLDER [key=value ...] [-- FOLDER ...]``, it trains in processes of their own, one
run after the other. With ``--again`` in front it trains in a fork of itself, whose number it prints, and again and
again until one has not been killed: this saves the seconds that imports take.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from endofm.errors import EndoFMError
from endofm.training.config_files import load_config
from endofm.training.config_schema import resume_safe
from endofm.training.engine.distributed import all_reduce_mean
from endofm.training.engine.fit import fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import HealthRule, LoaderSpec, RunSummary, StepOutput, TrainingTask, Weights
from endofm.training.run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """Attributes name what a test wants to happen."""

    run: RunConfig = field(
        default_factory=lambda: RunConfig(
            epochs=3, batch_size=4, num_workers=0, accelerator="cpu", log_every=2, loggers=("csv",)
        )
    )
    lr: float = 0.01
    dropout: float = 0.2
    clips: int = 24
    empty: tuple[int, ...] = ()
    nan_at: int | None = None
    sleep: float = resume_safe(0.0)
    frozen_steps: int = 3


@dataclass(frozen=True)
class ToyBatch:
    x: Tensor
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


class ToyData:
    """Vectors that depend on the epoch and the clip, in an order that depends on the epoch."""

    def __init__(self, share: LoaderSpec, config: ToyConfig) -> None:
        self.share, self.config = share, config
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return self.config.clips // self.share.world_size // self.share.batch_size

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[ToyBatch]:
        torch.rand(3)  # As a DataLoader does.
        order = np.random.default_rng(self.epoch).permutation(self.config.clips)
        mine = order[self.share.rank :: self.share.world_size]
        for batch in range(self.start, len(self)):
            places = mine[batch * self.share.batch_size :][: self.share.batch_size]
            places = [place for place in places.tolist() if place not in self.config.empty]
            rows = [np.random.default_rng([self.epoch, place]).normal(size=6) for place in places]
            x = torch.tensor(np.array(rows).reshape(-1, 6), dtype=torch.float32)
            yield ToyBatch(x, tuple(f"clip-{place}" for place in places))


class Block(nn.Sequential):
    """A unit of its own for sharding."""


class Net(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.block = Block(nn.Linear(6, 12), nn.GELU(), nn.Dropout(dropout))
        self.last_layer = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last_layer(self.block(x))
        return out


class Centre(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(1, 5))


class ToyTask(TrainingTask):
    shard_units = (Block,)

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        self.network = Net(config.dropout)
        self.teacher, self.centre = Net(0.0), Centre()
        self.teacher.load_state_dict(self.network.state_dict())
        self.teacher.requires_grad_(False)
        self.helpers = {"teacher": self.teacher, "centre": self.centre}
        self.seen: list[str] = []
        self.validations = 0

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), lr=self.config.lr)

    def schedule(self, optimizer: torch.optim.Optimizer, step: int) -> Mapping[str, float]:
        lr = self.config.lr * (1 - step / self.plan.total_steps)
        for group in optimizer.param_groups:
            group["lr"] = lr
        return {"lr": lr}

    def training_step(self, network: Callable[..., Any], batch: ToyBatch, step: int) -> StepOutput:
        if self.config.sleep:
            time.sleep(self.config.sleep)
        self.seen += batch.ids
        student = network(batch.x)
        with torch.no_grad():
            teacher = self.teacher(batch.x)
            target = torch.softmax((teacher.float() - self.centre.center) / 0.1, -1)
            self.centre.center.mul_(0.9).add_(all_reduce_mean(teacher.float().mean(0, keepdim=True)), alpha=0.1)
        loss = -(target * torch.log_softmax(student.float(), -1)).sum(-1).mean()
        if step == self.config.nan_at:
            loss = loss * float("nan")
        return StepOutput(loss, {"entropy": -(target * target.clamp_min(1e-9).log()).sum(-1).mean()})

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if step < self.config.frozen_steps:
            for parameter in self.network.last_layer.parameters():
                parameter.grad = None
        return {"grad_norm": norm}

    def after_step(self, step: int) -> None:
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.network.parameters()), 0.1)

    def validate(self, epoch: int) -> Mapping[str, float]:
        self.validations += 1
        torch.rand(1)
        return {"score": float(-abs(epoch - 1))}

    def extra_state(self) -> dict[str, Any]:
        return {"validations": self.validations}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        self.validations = state["validations"]

    def health_rules(self) -> Sequence[HealthRule]:
        return (HealthRule(metric="entropy", high=100.0, rows=2, meaning="The toy is broken. Buy another."),)

    def export(self, folder: Path, weights: Weights, summary: RunSummary) -> None:
        folder.mkdir()
        torch.save({"teacher": dict(weights["teacher"]), "step": summary.step}, folder / "toy.pt")


def train(folder: Path, config: ToyConfig, **changes: Any) -> tuple[ToyTask, Any]:
    if changes:
        config = replace(config, run=replace(config.run, **changes))
    seed_all(config.run.seed)
    task = ToyTask(config)
    result = fit(task, lambda share: ToyData(share, config), config.run, folder, config=config)
    return task, result


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a log."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of network and teacher in the last checkpoint."""
    step = (folder / "checkpoints" / "last").read_text(encoding="utf-8").strip()
    content = torch.load(folder / "checkpoints" / step, weights_only=True)
    tensors: dict[str, torch.Tensor] = {**content["network"], **content["helpers"]["teacher"]}
    return tensors


def main(arguments: list[str]) -> int:
    status = 0
    while arguments:
        end = arguments.index("--") if "--" in arguments else len(arguments)
        folder, *overrides = arguments[:end]
        arguments = arguments[end + 1 :]
        try:
            status = train(Path(folder), load_config(ToyConfig, None, overrides))[1].exit_status
        except EndoFMError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            status = 1
    return status


def again_and_again(arguments: list[str]) -> int:
    import lightning_fabric  # noqa: F401 (so that the forks have it)

    while True:
        pid = os.fork()
        if not pid:
            status = main(arguments)
            sys.stderr.flush()
            os._exit(status)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(again_and_again(given[1:]) if given[0] == "--again" else main(given))
