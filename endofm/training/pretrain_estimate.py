"""Estimate of the time and memory of a pre-training run, from a few of its steps, whose results are thrown away."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from endofm.errors import ConfigError
from endofm.files import size_text
from endofm.progress import duration_text
from endofm.training.engine.devices import choose_accelerator
from endofm.training.objectives.distill.distill_config import DistillConfig
from endofm.training.pretrain import count_clips, pretrain
from endofm.training.pretrain_config import KnnConfig, PretrainConfig

# As many steps again come first, which wait for the data workers and warm up.
_TIMED_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class PretrainEstimate:
    """Expected cost of a run.

    Attributes:
        clips: Clips to train on.
        batch_size: Clips of a step.
        steps: Steps of the run.
        device: Device that was measured.
        clips_per_second: Measured speed, data included.
        memory_bytes: Most memory at this batch size: of the GPU, or of all processes; None where it is not known.
        bytes_per_clip: Memory of each clip more in a step; None where it is not known.
        disk_bytes: Size of the folder of the run at its end.
    """

    clips: int
    batch_size: int
    steps: int
    device: str
    clips_per_second: float
    memory_bytes: int | None
    bytes_per_clip: int | None
    disk_bytes: int

    def lines(self) -> list[str]:
        """Return the estimate as lines of text."""
        time = duration_text(self.steps * self.batch_size / self.clips_per_second)
        memory = "memory: not measured on this system"
        if self.memory_bytes is not None:
            more = f", and {size_text(self.bytes_per_clip)} for each clip more" if self.bytes_per_clip else ""
            memory = f"memory: {size_text(self.memory_bytes)} at {self.batch_size} clips a step{more}"
        return [
            f"data: {self.clips:,} clips, {self.steps:,} steps of {self.batch_size}",
            f"time: about {time} at {self.clips_per_second:,.2f} clips per second on {self.device}",
            memory,
            f"disk: {size_text(self.disk_bytes)} in the folder of the run, without the clips",
            f"measured over {_TIMED_STEPS} steps; nothing was kept",
        ]


def estimate_pretraining(config: PretrainConfig) -> PretrainEstimate:
    """Do a few steps of a run, the data included, and say what all of them would take.

    Raises:
        ConfigError: If the run is a distillation, whose teachers would work for most of the time before the first step.
        EndoFMError: As :func:`~endofm.training.pretrain.pretrain`.
    """
    if isinstance(config.objective, DistillConfig):
        raise ConfigError("--dry-run measures steps, and a distillation computes its teachers' maps before the first")
    run, clips = config.run, count_clips(config.data)
    steps = clips // run.batch_size * run.epochs
    steps = steps if run.max_steps is None else min(steps, run.max_steps)
    # Half a batch first: the most memory that a process ever had cannot be reset on a CPU.
    half = run.batch_size // 2
    least = _measure(config, half, 1)[1] if half else None
    rate, most, disk = _measure(config, run.batch_size, 2 * _TIMED_STEPS)
    slope = (most - least) // (run.batch_size - half) if most is not None and least is not None else None
    return PretrainEstimate(
        clips=clips,
        batch_size=run.batch_size,
        steps=steps,
        device=torch.cuda.get_device_name() if choose_accelerator(run) == "cuda" else "this CPU",
        clips_per_second=rate,
        memory_bytes=most,
        bytes_per_clip=slope,
        disk_bytes=disk,
    )


def _measure(config: PretrainConfig, batch_size: int, steps: int) -> tuple[float, int | None, int]:
    """Return clips per second, most memory and the size of the run's folder after a short run."""
    short = replace(
        config.run,
        batch_size=batch_size,
        max_steps=steps,
        log_every=max(steps // 2, 1),
        loggers=(),
        checkpoint_every_steps=None,
        checkpoint_every_epochs=1_000_000,
        validate_every_epochs=1_000_000,
        monitor=None,
        patience=None,
    )
    is_gpu = choose_accelerator(config.run) == "cuda"
    if is_gpu:
        torch.cuda.reset_peak_memory_stats()
    # The run would name its model's folder, which is gone when the message is read.
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(name) / "run"
        # So few steps are shorter than any warm-up.
        objective = replace(config.objective, warmup_epochs=0)
        result = pretrain(replace(config, objective=objective, run=short, knn=KnnConfig()), folder, progress=False)
        checkpoint = max(path.stat().st_size for path in (folder / "checkpoints").glob("*.pt"))
        export = sum(path.stat().st_size for path in (folder / "export").rglob("*") if path.is_file())
    memory = torch.cuda.max_memory_allocated() if is_gpu else _most_memory(config.run.num_workers)
    # A new checkpoint is written before the oldest goes.
    return result.metrics["clips_per_second"], memory, checkpoint * (config.run.keep + 1) + export


def _most_memory(workers: int) -> int | None:
    """Return the most memory in bytes that this process and its data workers had so far; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * (own + workers * child)
