"""The folder of a run: its files, its lock, and the settings it was started with.

::

    config.yaml          resolved configuration
    run.json             versions, identity, the precision that was chosen, and what was left out of the data
    checkpoints/         step-<number>.pt; `last` and `best` name one of them
    logs/                train.csv, validation.csv, tensorboard/
    export/              the trained model, at the end
    run.png              curves, at the end
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from endofm._version import __version__
from endofm.errors import InputError
from endofm.files import atomic_path
from endofm.json_text import read_json
from endofm.resume import exclusive, require_same_settings
from endofm.training.config_files import read_yaml, to_yaml
from endofm.training.config_schema import to_dict, without_resume_safe
from endofm.training.engine.run_checkpoints import CheckpointFolder
from endofm.training.run_config import FixedPrecision


class RunFolder:
    """Paths within a run's folder, and its lock.

    Args:
        root: The folder; created when the run starts.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.info = self.root / "run.json"
        self.logs = self.root / "logs"
        self.export = self.root / "export"
        self.plot = self.root / "run.png"
        self.checkpoints = CheckpointFolder(self.root / "checkpoints")

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the folder's lock and remove half-written files; see :func:`endofm.resume.exclusive`."""
        return exclusive(self.root)

    def recorded_precision(self) -> FixedPrecision | None:
        """Return the precision of the run's checkpoints, None before there are any."""
        return self.identity().get("precision") if self.info.exists() and self.checkpoints.steps() else None

    def store_settings(self, config: Any, precision: FixedPrecision) -> None:
        """Store the configuration; if the folder has checkpoints, check first that they were made with it.

        Args:
            config: The configuration.
            precision: Precision in which the run computes.

        Raises:
            JobError: If the run was started with other settings; the message names them.
        """
        # Before the first checkpoint there is nothing that could depend on the old settings.
        if self.config.exists() and self.checkpoints.steps():
            require_same_settings(
                self.root,
                without_resume_safe(read_yaml(self.config), config),
                without_resume_safe(to_dict(config), config),
                remedy=f"resume with the old ones, which are in {self.config}",
            )
        with atomic_path(self.config) as temporary:
            temporary.write_text(f"# endofm {__version__}\n{to_yaml(config)}", encoding="utf-8")
        if not self.info.exists() or not self.checkpoints.steps():
            info = {
                "id": uuid4().hex[:8],
                "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "endofm": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "precision": precision,
            }
            with atomic_path(self.info) as temporary:
                temporary.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")

    def add_left_out(self, notes: Sequence[str]) -> list[str]:
        """Add to ``run.json`` what a run left out of its data, one sentence each; return all that it holds now."""
        info = dict(self.identity())
        known = info.get("left_out", [])
        info["left_out"] = list(dict.fromkeys([*known, *notes]))
        if info["left_out"] != known:
            with atomic_path(self.info) as temporary:
                temporary.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
        return list(info["left_out"])

    def identity(self) -> Mapping[str, Any]:
        """Return the content of ``run.json``."""
        try:
            info: dict[str, Any] = read_json(self.info)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.info}: cannot be read ({error})") from error
        return info
