"""The folder of a run: who may write to it, with which configuration, and what lies where.

::

    config.yaml          resolved configuration
    run.json             versions and identity
    checkpoints/         step-<number>.pt, and which is `last` and `best`
    logs/                train.csv, validation.csv, tensorboard/
    export/              the trained model, at the end
    run.png              curves, at the end
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from endofm._version import __version__
from endofm.errors import ConfigError, InputError, JobError
from endofm.files import atomic_path, remove_partial
from endofm.training.config import changed_keys, read_yaml, to_yaml
from endofm.training.engine.checkpoint import CheckpointFolder

_LOCK_NAME = ".endofm-lock"


class RunFolder:
    """Paths below a run's folder, and its lock.

    Args:
        root: The folder; created when the run begins.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.about = self.root / "run.json"
        self.logs = self.root / "logs"
        self.export = self.root / "export"
        self.picture = self.root / "run.png"
        self.checkpoints = CheckpointFolder(self.root / "checkpoints")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's lock, which the system releases when a process dies in whatever way.

        Raises:
            JobError: If another run is writing to the folder.
            InputError: If the folder cannot be made.
        """
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported without __all__

        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.root}: this folder cannot be made ({error})") from error
        lock = WeakFileLock(self.root / _LOCK_NAME, timeout=1.0)
        try:
            lock.__enter__()
        except TimeoutError as error:
            raise JobError(
                f"{self.root}: another run is writing to this folder; wait for it or choose another"
            ) from error
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def take(self, config: Any) -> None:
        """Begin or resume: store the configuration, or check that it is the one that the run began with.

        Raises:
            ConfigError: If the run began with other settings; the message names them.
        """
        self.checkpoints.clean()
        for place in (self.root, self.logs, self.export):  # what a killed process was writing
            remove_partial(place)
        if self.config.exists() and self.checkpoints.steps():
            changed = changed_keys(read_yaml(self.config), config)
            if changed:
                told = "; ".join(f"{key} was {old!r} and is now {new!r}" for key, (old, new) in changed.items())
                raise ConfigError(
                    f"{self.root} holds a run with other settings ({told}); choose another folder, or go on with the "
                    f"old ones, which are in {self.config}"
                )
        with atomic_path(self.config) as temporary:
            temporary.write_text(f"# endofm {__version__}\n{to_yaml(config)}", encoding="utf-8")
        if not self.about.exists():
            about = {
                "id": uuid4().hex[:8],
                "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "endofm": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            }
            with atomic_path(self.about) as temporary:
                temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def identity(self) -> Mapping[str, Any]:
        """Return what ``run.json`` says."""
        try:
            about: dict[str, Any] = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.about}: cannot be read ({error})") from error
        return about
