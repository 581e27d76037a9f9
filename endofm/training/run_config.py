"""Settings of a run that do not depend on what is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from endofm.errors import ConfigError
from endofm.training.config import free

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
LoggerName = Literal["csv", "tensorboard", "wandb"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long, on what and with what care a run goes on.

    Attributes:
        epochs: Passes over the data; schedules span the whole run.
        max_steps: Optimisation steps after which the run ends if that is earlier; schedules then span these.
        batch_size: Clips per optimisation step, over all processes together.
        accumulate: Parts that a process handles its share of a batch in, one after the other, to save memory.
        precision: `32-true`, `bf16-mixed`, or `16-mixed` (float16 with loss scaling).
        accelerator: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        devices: Processes on this machine, one per GPU; 0 for all GPUs (one process on a CPU). `torchrun` and SLURM
            set it themselves.
        num_nodes: Machines; `torchrun` and SLURM set it themselves.
        strategy: `ddp` keeps the whole model on every device, `fsdp` shares it out (FSDP2).
        num_workers: Processes that read data, per device.
        seed: Seed of initial weights, of the order of the data and of everything random.
        checkpoint_every_steps: Steps between checkpoints; null for none but those of epochs.
        checkpoint_every_epochs: Epochs between checkpoints. The end of the run always has one.
        keep: Checkpoints that are kept, the newest ones.
        validate_every_epochs: Epochs between validations.
        monitor: Validation metric whose best checkpoint is kept and exported; null to export the last.
        monitor_mode: Whether `max` or `min` is best.
        patience: Validations without a new best after which the run ends; null to go on.
        log_every: Steps between rows of the logs.
        loggers: Where metrics go besides the progress bar: `csv`, `tensorboard`, `wandb`.
        grad_checkpointing: Recompute blocks in the backward pass: slower, less memory.
        compile: Compile the network with `torch.compile`.
        on_unhealthy: What happens when the watch over the run finds a collapse: `stop` or `warn`.
    """

    epochs: int = 100
    max_steps: int | None = None
    batch_size: int = 12
    accumulate: int = free(1)
    precision: Precision = "32-true"
    accelerator: Literal["auto", "cpu", "cuda"] = free("auto")
    devices: int = free(0)
    num_nodes: int = free(1)
    strategy: Literal["ddp", "fsdp"] = free("ddp")
    num_workers: int = free(4)
    seed: int = 0
    checkpoint_every_steps: int | None = free(None)
    checkpoint_every_epochs: int = free(1)
    keep: int = free(2)
    validate_every_epochs: int = 1
    monitor: str | None = None
    monitor_mode: Literal["max", "min"] = "max"
    patience: int | None = None
    log_every: int = free(10)
    loggers: tuple[LoggerName, ...] = free(("csv", "tensorboard"))
    grad_checkpointing: bool = free(False)
    compile: bool = free(False)
    on_unhealthy: Literal["stop", "warn"] = free("stop")

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
