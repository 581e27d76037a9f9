"""Checks of configuration values, with messages that name the field, the value and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Collection

from endofm.errors import ConfigError


def require_int(config: object, *names: str, low: int = 1) -> None:
    """Raise ConfigError unless the fields hold whole numbers of at least ``low``."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ConfigError(f"{_title(config, name)} must be a whole number >= {low}, got {value!r}")


def require_number(config: object, *names: str, low: float, high: float = math.inf, open_low: bool = False) -> None:
    """Raise ConfigError unless the fields hold finite numbers in ``[low, high]`` (``(low, high]`` if ``open_low``)."""
    for name in names:
        value = getattr(config, name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not low <= value <= high or (open_low and value == low):
            start = f"{'>' if open_low else '>='} {low:g}"
            limits = start if high == math.inf else f"{start} and <= {high:g}"
            raise ConfigError(f"{_title(config, name)} must be a number {limits}, got {value!r}")


def require_bool(config: object, *names: str) -> None:
    """Raise ConfigError unless the fields hold true or false."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, bool):
            raise ConfigError(f"{_title(config, name)} must be true or false, got {value!r}")


def require_choice(config: object, name: str, choices: Collection[str]) -> None:
    """Raise ConfigError unless the field holds one of the words."""
    value = getattr(config, name)
    if value not in choices:
        raise ConfigError(f"{_title(config, name)} must be one of {', '.join(choices)}; got {value!r}")


def _title(config: object, name: str) -> str:
    return f"{type(config).__name__}.{name}"
