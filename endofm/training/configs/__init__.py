"""Pre-training configurations of the package, by name."""

from __future__ import annotations

from pathlib import Path

from endofm.errors import ConfigError

_FOLDER = Path(__file__).parent


def config_names() -> list[str]:
    """Return the names of the configurations."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def find_config(name: str) -> Path:
    """Return the file of a configuration, given by path or by name.

    Raises:
        ConfigError: If there is neither such a file nor such a name.
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
