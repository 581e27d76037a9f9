"""Run settings, independent of the task that is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from endofm.errors import ConfigError
from endofm.training.config_schema import resume_safe

FixedPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]
LoggerName = Literal["csv", "tensorboard", "wandb"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Run settings: duration, devices, checkpointing, logging.

    Attributes:
        epochs: Passes over the data; schedules span the full run.
        max_steps: Largest number of optimisation steps; schedules then span these. Null for no limit.
        batch_size: Clips per optimisation step, over all processes.
        accumulate: Parts into which each process splits its batch, processed one after the other to save memory.
        precision: `32-true`, `bf16-mixed`, `16-mixed` (float16 with loss scaling), or `auto`: `32-true` on a CPU unless
            a short measurement shows `bf16-mixed` to be clearly faster, the latter on a GPU that multiplies in it and
            `16-mixed` on an older one. A CPU on which a requested one is slower than `32-true` takes that. The run
            records what was chosen, and keeps it when it is resumed.
        accelerator: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        devices: Processes on this machine, one per GPU; 0 for all GPUs (one process on a CPU). `torchrun` and SLURM
            set it themselves.
        num_nodes: Machines; `torchrun` and SLURM set it themselves.
        strategy: `ddp` keeps the full model on every device, `fsdp` shards it over them (FSDP2).
        num_workers: Data workers per device.
        seed: Seed of initial weights, data order and all random draws.
        checkpoint_every_steps: Steps between checkpoints; null for checkpoints at epochs only.
        checkpoint_every_epochs: Epochs between checkpoints. The end of the run always has one.
        keep: Number of newest checkpoints to keep.
        validate_every_epochs: Epochs between validations.
        monitor: Validation metric whose best checkpoint is kept and exported; null to export the last one.
        monitor_mode: Whether `max` or `min` is best.
        patience: Validations without improvement after which the run ends; null for no early stopping.
        log_every: Steps between rows of the logs.
        loggers: Destinations of metrics besides the progress bar: `csv`, `tensorboard`, `wandb`.
        grad_checkpointing: Recompute blocks in the backward pass: slower, less memory.
        compile: Compile the network with `torch.compile`.
        on_unhealthy: Reaction to a detected collapse: `stop` or `warn`.
    """

    epochs: int = 100
    max_steps: int | None = None
    batch_size: int = 12
    accumulate: int = resume_safe(1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "auto"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda"] = resume_safe("auto")
    devices: int = resume_safe(0)
    num_nodes: int = resume_safe(1)
    strategy: Literal["ddp", "fsdp"] = resume_safe("ddp")
    num_workers: int = resume_safe(4)
    seed: int = 0
    checkpoint_every_steps: int | None = resume_safe(None)
    checkpoint_every_epochs: int = resume_safe(1)
    keep: int = resume_safe(2)
    validate_every_epochs: int = 1
    monitor: str | None = None
    monitor_mode: Literal["max", "min"] = "max"
    patience: int | None = None
    log_every: int = resume_safe(10)
    loggers: tuple[LoggerName, ...] = resume_safe(("csv", "tensorboard"))
    grad_checkpointing: bool = resume_safe(False)
    compile: bool = resume_safe(False)
    on_unhealthy: Literal["stop", "warn"] = resume_safe("stop")

    def __post_init__(self) -> None:
        positive = (
            "epochs",
            "batch_size",
            "accumulate",
            "num_nodes",
            "checkpoint_every_epochs",
            "keep",
            "validate_every_epochs",
            "log_every",
        )
        for name in positive:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("max_steps", "checkpoint_every_steps", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, or null, got {value}")
        for name in ("devices", "num_workers", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.patience is not None and self.monitor is None:
            raise ConfigError("patience counts validations without a better `monitor`; name the metric in monitor")
