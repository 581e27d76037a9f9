"""Frozen dataclasses from plain values, and checks of their fields."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from endofm.errors import ConfigError

_T = TypeVar("_T")


def from_mapping(cls: type[_T], values: object, where: str) -> _T:
    """Build the dataclass ``cls`` from plain JSON values, refusing unknown keys.

    Args:
        cls: A dataclass whose fields are plain values or tuples of them.
        values: Values by field name; lists become tuples.
        where: Name of the file, for messages.

    Raises:
        ConfigError: If a key is unknown or a value is not valid.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a JSON object with the fields of {cls.__name__}, got {values!r}")
    known = [f.name for f in fields(cls) if f.init]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r} in {cls.__name__}{hint}")
    try:
        return cls(**{key: _frozen(value) for key, value in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def require_positive_ints(config: object, names: tuple[str, ...]) -> None:
    """Raise unless the named fields are whole numbers >= 1."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{type(config).__name__}.{name} must be a whole number >= 1, got {value!r}")


def require_positive(config: object, name: str) -> None:
    """Raise unless the named field is a finite number > 0."""
    value = getattr(config, name)
    if not is_number(value) or not 0 < value < math.inf:
        raise ConfigError(f"{type(config).__name__}.{name} must be a number > 0, got {value!r}")


def require_fraction(config: object, name: str) -> None:
    """Raise unless the named field is a number in [0, 1)."""
    value = getattr(config, name)
    if not is_number(value) or not 0 <= value < 1:
        raise ConfigError(f"{type(config).__name__}.{name} must be in [0, 1), got {value!r}")


def require_bools(config: object, names: tuple[str, ...]) -> None:
    """Raise unless the named fields are true or false."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, bool):
            raise ConfigError(f"{type(config).__name__}.{name} must be true or false, got {value!r}")


def require_choice(config: object, name: str, choices: tuple[str, ...]) -> None:
    """Raise unless the named field is one of the choices."""
    value = getattr(config, name)
    if value not in choices:
        raise ConfigError(f"{type(config).__name__}.{name} must be one of {', '.join(choices)}, got {value!r}")


def is_number(value: Any) -> bool:
    """Say whether a value is a number; ``True`` and ``False`` are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
