"""Field checks for configuration dataclasses, and their construction from plain JSON values.

Every check names the class, the field, the value that was given and the values that are accepted.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from endofm.errors import ConfigError, quoted

_T = TypeVar("_T")

LARGEST_SIZE = 65_536
"""Upper limit on widths and sides in pixels."""

LARGEST_COUNT = 4_096
"""Upper limit on blocks and on frames per clip."""


def from_mapping(cls: type[_T], values: object, source: str) -> _T:
    """Build the dataclass ``cls`` from plain JSON values, refusing unknown keys.

    Args:
        cls: A dataclass whose fields are plain values or tuples of them.
        values: Values by field name; lists become tuples.
        source: Name of the file, for messages.

    Raises:
        ConfigError: If a key is unknown or a value is not valid.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: expected a JSON object with the fields of {cls.__name__}, got {quoted(values)}")
    accepted = [f.name for f in fields(cls) if f.init]  # type: ignore[arg-type]
    for key in values:
        if key not in accepted:
            close = difflib.get_close_matches(str(key)[:100], accepted, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; accepted keys: {', '.join(accepted)}"
            raise ConfigError(f"{source}: unknown key {quoted(key)} in {cls.__name__}{hint}")
    try:
        return cls(**{key: _frozen(value) for key, value in values.items()})
    except (TypeError, ConfigError) as error:
        # A TypeError is a missing field; both messages lack the name of the file.
        raise ConfigError(f"{source}: {error}") from error


def require_int(config: object, *names: str, low: int = 1, high: int | None = None) -> None:
    """Raise ConfigError unless the fields hold integers of at least ``low`` and, if given, at most ``high``.

    Sizes that determine memory have an upper limit: a configuration is read from files that others made.
    """
    for name in names:
        value = getattr(config, name)
        # bool is a subclass of int, but `depth: true` in a file is a mistake.
        if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
            upper = "" if high is None else f" and <= {high}"
            raise ConfigError(f"{_title(config, name)} must be an integer >= {low}{upper}, got {quoted(value)}")


def require_number(
    config: object,
    *names: str,
    low: float,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise ConfigError unless the fields hold finite numbers between two limits.

    Args:
        config: The dataclass.
        names: Its fields to check.
        low: Lower limit.
        high: Upper limit.
        open_low: Exclude the lower limit itself.
        open_high: Exclude the upper limit itself.
    """
    for name in names:
        value = getattr(config, name)
        inside = (
            is_number(value)
            # Unlike math.isfinite, a comparison takes integers beyond the range of floats; it fails for NaN.
            and abs(value) <= sys.float_info.max
            and (low < value if open_low else low <= value)
            and (value < high if open_high else value <= high)
        )
        if not inside:
            lower = f"{'>' if open_low else '>='} {low:g}"
            upper = "" if high == math.inf else f" and {'<' if open_high else '<='} {high:g}"
            raise ConfigError(f"{_title(config, name)} must be a number {lower}{upper}, got {quoted(value)}")


def require_bool(config: object, *names: str) -> None:
    """Raise ConfigError unless the fields hold true or false."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, bool):
            raise ConfigError(f"{_title(config, name)} must be true or false, got {quoted(value)}")


def require_str(config: object, *names: str) -> None:
    """Raise ConfigError unless the fields hold strings."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, str):
            raise ConfigError(f"{_title(config, name)} must be a string, got {quoted(value)}")


def require_choice(config: object, name: str, choices: Collection[str]) -> None:
    """Raise ConfigError unless the field holds one of the choices."""
    value = getattr(config, name)
    if value not in choices:
        raise ConfigError(f"{_title(config, name)} must be one of {', '.join(choices)}; got {quoted(value)}")


def is_number(value: Any) -> bool:
    """Return whether a value is a number; ``True`` and ``False`` are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _title(config: object, name: str) -> str:
    return f"{type(config).__name__}.{name}"


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
