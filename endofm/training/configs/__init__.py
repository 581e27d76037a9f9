"""Configurations that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

from endofm.errors import ConfigError

_FOLDER = Path(__file__).parent


def config_names() -> list[str]:
    """Return the names."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def find_config(name: str) -> Path:
    """Return the file of a configuration: a path, or else a name.

    Raises:
        ConfigError: If there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = _FOLDER / f"{name}.yaml"
    if name in config_names():
        return known
    raise ConfigError(
        f"{name}: there is no such configuration file; the package has the configurations {', '.join(config_names())}"
    )
