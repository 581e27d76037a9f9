"""The pre-training step against a plain restatement of the published loop: clips per second and peak memory.

python -m benchmarks pretraining-step --threads 1 --rounds 7
python -m benchmarks pretraining-step --preset base --global-size 224 --local-size 96 --batch-size 3 --device cuda

Both start from the same weights and see the same views; the losses of the first step are compared before anything is
timed. Making the views and decoding are not part of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from benchmarks.plain_step import PlainStep
from benchmarks.timing import compare, print_table
from endofm import EncoderConfig, VideoTransformer
from endofm.training.engine.training_task import Plan
from endofm.training.objectives.endofm.endofm_config import EndoFMPublishedConfig, ProjectionHeadConfig
from endofm.training.objectives.endofm.endofm_task import EndoFMTask
from endofm.training.views.view_config import ViewConfig

CANDIDATES = {
    "plain loop, float32": ("plain", False),
    "plain loop, bfloat16": ("plain", True),
    "endofm, float32": ("endofm", False),
    "endofm, bfloat16": ("endofm", True),
}


class OurStep:
    """One step of the training loop, without its bookkeeping."""

    def __init__(self, task: EndoFMTask, bf16: bool, device: torch.device) -> None:
        self.task, self.bf16, self.number = task, bf16, 0
        for module in (task.network, task.teacher, task.loss):
            module.to(device)
        task.prepare(Plan(steps_per_epoch=10**6, total_steps=10**6, batch_size=256))
        self.optimizer = task.make_optimizer()
        task.set_training(True)

    def __call__(self, views: list[Tensor]) -> float:
        task = self.task
        task.schedule(self.optimizer, self.number)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(views[0].device.type, torch.bfloat16, enabled=self.bf16):
            loss = task.training_step(task.network, SimpleNamespace(frames=views), self.number).loss
        loss.backward()
        value = loss.item()
        with torch.no_grad():
            task.after_backward(self.number)
            self.optimizer.step()
            task.after_step(self.number)
        self.number += 1
        return value


def make(args: argparse.Namespace, kind: str, bf16: bool, *, drop_path: float) -> Callable[[list[Tensor]], float]:
    views = ViewConfig(global_size=args.global_size, local_size=args.local_size)
    # The published preset, so that both do the same; prototypes trained, as from the second epoch on.
    config = EndoFMPublishedConfig(
        views=views,
        head=ProjectionHeadConfig(out_dim=args.out_dim),
        drop_path_rate=drop_path,
        warmup_epochs=0,
        freeze_last_layer_epochs=0,
    )
    encoder = EncoderConfig.preset(args.preset, img_size=args.global_size)
    torch.manual_seed(0)
    task = EndoFMTask(config, VideoTransformer(encoder))
    with torch.no_grad():
        for parameter in task.network.parameters():  # nothing zero: a fresh network's temporal branch would be
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    task.teacher.load_state_dict(task.network.state_dict())
    device = torch.device(args.device)
    if kind == "plain":
        return PlainStep(encoder, config, task.network.state_dict(), bf16).to(device)
    return OurStep(task, bf16, device)


def batch(args: argparse.Namespace) -> list[Tensor]:
    torch.manual_seed(1)
    views = ViewConfig(global_size=args.global_size, local_size=args.local_size)
    shapes = zip(views.frames, views.sizes, strict=True)
    return [torch.randn(args.batch_size, 3, t, s, s, device=args.device) for t, s in shapes]


def peak_memory(arguments: list[str], name: str) -> float:
    """Return the most memory in MiB that three steps need beyond the networks, measured in a separate process."""
    command = [sys.executable, "-m", "benchmarks", "pretraining-step", *arguments, "--memory-of", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak_rss() -> float:
    """Return the most memory in MiB that this process had so far; getrusage would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure_memory(args: argparse.Namespace) -> None:
    step = make(args, *CANDIDATES[args.memory_of], drop_path=0.1)
    views = batch(args)
    before = peak_rss()
    if args.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    for _ in range(3):
        step(views)
    peak = peak_rss()
    if args.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    print(peak - before)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pretraining-step", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="tiny", choices=["tiny", "small", "base"])
    parser.add_argument("--global-size", type=int, default=96)
    parser.add_argument("--local-size", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=2, help="clips per step")
    parser.add_argument("--out-dim", type=int, default=4096, help="prototypes (published: 65536)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-of", choices=CANDIDATES, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.memory_of:
        measure_memory(args)
        return

    views = batch(args)
    first = {kind: make(args, kind, False, drop_path=0.0)(views) for kind in ("plain", "endofm")}
    if abs(first["plain"] - first["endofm"]) > 1e-4 * abs(first["plain"]):
        raise SystemExit(f"the two do not compute the same loss: {first}")

    def work(step: Callable[[list[Tensor]], float]) -> Callable[[], float]:
        return lambda: step(views)  # the loss is read, so that a GPU has finished

    steps = {name: work(make(args, *how, drop_path=0.1)) for name, how in CANDIDATES.items()}
    clock = time.process_time if args.threads == 1 and args.device == "cpu" else time.perf_counter
    ratios = compare(steps, rounds=args.rounds, clock=clock)
    title = (
        f"{args.preset}, views of {args.global_size} and {args.local_size} pixels, {args.batch_size} clips, "
        f"{args.out_dim} prototypes, {args.device}"
    )
    print_table(title, ratios)
    start = clock()
    for _ in range(3):
        steps["endofm, bfloat16"]()
    print(f"\nendofm, bfloat16: {3 * args.batch_size / (clock() - start):.2f} clips per second here and now")
    print("\n| | memory beyond the networks |\n|---|---:|")
    for name in CANDIDATES:
        print(f"| {name} | {peak_memory(arguments, name):.0f} MiB |")
    print(f"\nloss of the first step: plain {first['plain']:.6f}, endofm {first['endofm']:.6f}")
