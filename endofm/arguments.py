"""Numbers and times given as arguments, checked once and turned into plain numbers of Python."""

from __future__ import annotations

import math
import operator
import re
from numbers import Real
from typing import Any

from endofm.errors import InputError, quoted


def integer_argument(value: Any, name: str, *, low: int = 1, high: int | None = None) -> int:
    """Return an argument as a plain integer.

    Args:
        value: An integer of Python or NumPy. ``True`` and ``False`` are refused, and so is ``2.0``.
        name: Name of the argument, for the message.
        low: Smallest value that is accepted.
        high: Largest value that is accepted; None for no limit.

    Raises:
        InputError: If the value is not such an integer.
    """
    try:
        # Integers of NumPy convert themselves; floats, strings and arrays of several elements do not.
        number = None if _is_bool(value) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        accepted = f">= {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{name} must be an integer {accepted}, got {quoted(value)}")
    return number


def number_argument(value: Any, name: str, *, low: float, high: float, unit: str = "") -> float:
    """Return an argument as a plain float.

    Args:
        value: A number of Python or NumPy. ``True`` and ``False`` are refused.
        name: Name of the argument, for the message.
        low: Smallest value that is accepted.
        high: Largest value that is accepted.
        unit: Unit for the message, such as ``"seconds"``.

    Raises:
        InputError: If the value is not a finite number within the limits.
    """
    number = math.nan
    if isinstance(value, Real) and not _is_bool(value):
        try:
            number = float(value)
        except OverflowError:  # an integer of Python beyond the range of floats
            number = math.inf
    if not low <= number <= high:
        what = f"a number of {unit}" if unit else "a number"
        raise InputError(f"{name} must be {what} from {low:g} to {high:g}, got {quoted(value)}")
    return number


def clock_argument(text: str, name: str) -> float:
    """Return a time given as seconds (``"75.5"``), ``"M:SS"`` or ``"H:MM:SS"``, in seconds.

    Args:
        text: The time.
        name: Name of the argument, for the message.

    Raises:
        InputError: If it is no such time.
    """
    match = re.fullmatch(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{0,9})?)", text.strip(), re.ASCII)
    if match is None or (match[2] is not None and float(match[3]) >= 60) or (match[1] and int(match[2]) >= 60):
        raise InputError(f"{name} must be a time: seconds, M:SS or H:MM:SS, got {quoted(text)}")
    return 3600 * int(match[1] or 0) + 60 * int(match[2] or 0) + float(match[3])


def _is_bool(value: object) -> bool:
    """Return whether a value is a truth value, which Python counts among the integers."""
    return isinstance(value, bool) or type(value).__name__ == "bool_" or type(value).__name__ == "bool"
