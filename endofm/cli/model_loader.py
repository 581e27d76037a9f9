"""Models of a command: loaded once in each process that needs them."""

from __future__ import annotations

import argparse
import threading
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endofm.models.pretrained import Pretrained


_LOADING = threading.Lock()
"""Two threads that need a model load it once."""


@dataclass(frozen=True, kw_only=True)
class ModelLoader:
    """Settings from which each process loads its model once; picklable, unlike the model.

    Attributes:
        task: Name of the task, which chooses the model class.
        weights: As for :meth:`~endofm.models.pretrained.Pretrained.from_pretrained`.
        local_files_only: Never use the network.
        device: Device of the model.
        precision: Precision of its inference, or ``"auto"``.
        threads: CPU threads.
        remote: Work is done on other machines; this process, which may have no such device, only checks, on the CPU.
    """

    task: str
    weights: str
    local_files_only: bool
    device: str | None
    precision: Any
    threads: int
    remote: bool = False

    @classmethod
    def from_arguments(cls, task: str, args: argparse.Namespace) -> ModelLoader:
        """Return the loader that the arguments of :func:`configure_batch` describe."""
        return cls.for_weights(task, args.weights, args)

    @classmethod
    def for_weights(cls, task: str, weights: str, args: argparse.Namespace) -> ModelLoader:
        """Return the loader of some weights, with the other arguments of :func:`configure_batch`."""
        import torch

        remote = args.engine != "local"
        return cls(
            task=task,
            weights=weights,
            local_files_only=args.local_files_only,
            device=args.device,
            precision=args.precision,
            threads=args.threads or (1 if remote else max(torch.get_num_threads() // args.jobs, 1)),
            remote=remote,
        )

    def load(self) -> Any:
        """Return the model, which the first call in a process loads."""
        with _LOADING:
            return _load(self)

    def settings(self, args: argparse.Namespace) -> dict[str, Any]:
        """Return what results depend on of the model and of the arguments of every command, as plain JSON values."""
        model: Pretrained = self.load()
        config = model.config
        return {
            "task": model.task,
            "weights": config.name or Path(self.weights).name,
            "weights_sha256": model.provenance.get("sha256", ""),
            "field_of_view": args.field_of_view,
            "fps": args.fps,
            "precision": model.precision,
            "preprocess": asdict(config.preprocess),
        }


@cache
def _load(loader: ModelLoader) -> Pretrained:
    import torch

    from endofm.errors import EndoFMWarning
    from endofm.models.auto import model_class
    from endofm.pool import is_worker

    # Of a worker process; that of the command is not the command's alone and gets its number back (`cpu_threads`).
    if is_worker():
        torch.set_num_threads(loader.threads)
    with warnings.catch_warnings():
        if is_worker():
            # The main process has loaded the same weights and warned; once is enough.
            warnings.simplefilter("ignore", EndoFMWarning)
        return model_class(loader.task).from_pretrained(
            loader.weights,
            local_files_only=loader.local_files_only,
            device=None if loader.remote and not is_worker() else loader.device,
            precision=loader.precision,
        )


def forget_models() -> None:
    """Release the loaded models."""
    _load.cache_clear()
