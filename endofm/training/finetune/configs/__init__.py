"""Configurations of fine-tuning that come with the package: one folder per task, one file per name."""

from __future__ import annotations

from pathlib import Path

from endofm.errors import ConfigError

_FOLDER = Path(__file__).parent


def config_names(task: str) -> list[str]:
    """Return the names of a task's configurations."""
    return sorted(path.stem for path in (_FOLDER / task).glob("*.yaml"))


def find_config(task: str, name: str) -> Path:
    """Return the file of a configuration: a path, or else a name.

    Raises:
        ConfigError: If there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if name in config_names(task):
        return _FOLDER / task / f"{name}.yaml"
    raise ConfigError(
        f"{name}: there is no such configuration file; for {task} the package has {', '.join(config_names(task))}"
    )
