"""Configurations of fine-tuning that come with the package: one folder per task, one file per name."""

from __future__ import annotations

from pathlib import Path

from endofm.training.configs import find_in, names_in

_FOLDER = Path(__file__).parent


def config_names(task: str) -> list[str]:
    """Return the names of a task's configurations."""
    return names_in(_FOLDER / task)


def find_config(task: str, name: str) -> Path:
    """Return the file of a configuration: a path, or else a name.

    Raises:
        ConfigError: If there is neither.
    """
    return find_in(_FOLDER / task, name, task)
