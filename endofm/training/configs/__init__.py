"""Pre-training configurations of the package, by name; and how any configuration is found by name or path."""

from __future__ import annotations

import difflib
from pathlib import Path

from endofm.errors import ConfigError, quoted

_FOLDER = Path(__file__).parent


def config_names() -> list[str]:
    """Return the names of the configurations."""
    return names_in(_FOLDER)


def find_config(name: str) -> Path:
    """Return the file of a configuration, given by path or by name.

    Raises:
        ConfigError: If there is neither such a file nor such a name.
    """
    return find_in(_FOLDER, name, "pre-training")


def names_in(folder: Path) -> list[str]:
    """Return the names of the configurations in a folder of the package."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_in(folder: Path, name: str, purpose: str) -> Path:
    """Return the file of a configuration, given by path or by its name in a folder of the package.

    Args:
        folder: Folder of the package.
        name: Path or name.
        purpose: Purpose of the folder's configurations, for the message.

    Raises:
        ConfigError: If there is neither such a file nor such a name.
    """
    path, names = Path(name), names_in(folder)
    if path.is_file():
        return path
    if name in names:
        return folder / f"{name}.yaml"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ConfigError(
        f"{quoted(name)}: there is no such configuration file; {hint}for {purpose} the package has {', '.join(names)}"
    )
