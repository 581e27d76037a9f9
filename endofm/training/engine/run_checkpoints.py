"""Checkpoint files of a run: written atomically, verified by checksum, read without executing anything in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from endofm.errors import CheckpointFormatError
from endofm.files import atomic_path
from endofm.hub.checkpoint_file import verify_archive

FORMAT_VERSION = 1
LAST_NAME = "last"
BEST_NAME = "best"


class CheckpointFolder:
    """The checkpoints of a run.

    Each is one file ``step-<number>.pt``. The text files ``last`` and ``best`` hold the name of one of them.

    Args:
        root: Folder; created with the first checkpoint.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def steps(self) -> list[int]:
        """Return the steps of the checkpoints, newest first; copies such as ``step-3 (1).pt`` are not among them."""
        names = (re.fullmatch(r"step-([0-9]+)\.pt", path.name) for path in self.root.glob("step-*.pt"))
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def path(self, step: int) -> Path:
        """Return the path of a step's checkpoint."""
        return self.root / f"step-{step:08}.pt"

    def write(self, step: int, content: Mapping[str, Any], *, keep: int, best: int | None) -> Path:
        """Write a checkpoint, update ``last`` and ``best``, and remove old checkpoints.

        Args:
            step: Steps done.
            content: Tensors and plain values.
            keep: Number of newest checkpoints to keep.
            best: Step of the best checkpoint, which is kept as well; None without one.
        """
        path = self.path(step)
        with atomic_path(path) as temporary:
            torch.save({"format_version": FORMAT_VERSION, **content}, temporary)
        # The names follow the file that they point to, and old files go last: killed in between, the folder still has
        # an intact checkpoint under every name.
        self._point(LAST_NAME, path)
        if best is not None:
            self._point(BEST_NAME, self.path(best))
        for old in self.steps()[keep:]:
            if old != best:
                self.path(old).unlink(missing_ok=True)
        return path

    def newest_intact(self) -> tuple[Path | None, list[str]]:
        """Return the newest intact checkpoint, and the problems of newer, damaged ones.

        Raises:
            CheckpointFormatError: If there are checkpoints and all of them are damaged.
        """
        problems: list[str] = []
        for step in self.steps():
            try:
                verify_archive(self.path(step))
            except CheckpointFormatError as error:
                problems.append(str(error))
            else:
                return self.path(step), problems
        if problems:
            raise CheckpointFormatError(
                f"{self.root}: every checkpoint in it is damaged; choose another run folder to start over, or remove "
                f"it. {problems[0]}"
            )
        return None, []

    def _point(self, name: str, path: Path) -> None:
        with atomic_path(self.root / name) as temporary:
            temporary.write_text(f"{path.name}\n", encoding="utf-8")


def read_run_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        CheckpointFormatError: If it is damaged, or not a checkpoint of this package and version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make torch.load fail in many ways, none of them documented
        raise CheckpointFormatError(f"{path}: this checkpoint cannot be read ({error})") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointFormatError(
            f"{path}: not a checkpoint that this release reads (format_version {version!r}, expected {FORMAT_VERSION})"
        )
    return dict(content)
