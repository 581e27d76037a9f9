"""Messages of errors."""

from __future__ import annotations

from endofm.errors import quoted


def test_long_values_are_quoted_in_part() -> None:
    assert quoted("short") == "'short'"
    for value in ("x" * 10**6, b"x" * 10**6, list(range(10**5)), ("\\\\" * 500)):
        assert len(quoted(value)) <= 200
        assert quoted(value).endswith("...")
