"""Numbers of every kind as arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from endofm.arguments import clock_argument, integer_argument, number_argument
from endofm.errors import InputError


@pytest.mark.parametrize("value", [3, np.int8(3), np.int64(3), np.uint16(3)])
def test_integers_become_plain(value: Any) -> None:
    result = integer_argument(value, "count")
    assert result == 3
    assert type(result) is int


@pytest.mark.parametrize(
    "value", [0, -1, 2.0, np.float32(2), True, np.True_, None, "2", b"2", [2], np.array([1, 2]), math.nan]
)
def test_anything_else_is_no_integer(value: Any) -> None:
    with pytest.raises(InputError, match="count must be an integer >= 1, got"):
        integer_argument(value, "count")


@pytest.mark.parametrize("value", [2, 2.0, np.float16(2), np.float32(2), np.float64(2), np.int32(2)])
def test_numbers_become_plain(value: Any) -> None:
    result = number_argument(value, "hop", low=1, high=10)
    assert result == 2.0
    assert type(result) is float


@pytest.mark.parametrize(
    "value", [0.5, 11, 10**400, -(10**400), math.nan, math.inf, True, np.False_, None, "2", [2.0], np.array([1.0, 2.0])]
)
def test_anything_else_is_no_number(value: Any) -> None:
    with pytest.raises(InputError, match="hop must be a number of seconds from 1 to 10, got") as error:
        number_argument(value, "hop", low=1, high=10, unit="seconds")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("75.5", 75.5), ("1:05", 65), ("90:00", 5400), ("1:02:03.25", 3723.25), (" 7 ", 7)]
)
def test_times_on_a_clock(text: str, seconds: float) -> None:
    assert clock_argument(text, "--time") == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:75:00", "1:2:3:4", "1e3", "nan", "1:", "x", "٣"])
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(InputError, match="--time must be a time"):
        clock_argument(text, "--time")
