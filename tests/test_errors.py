"""Messages of errors."""

from __future__ import annotations

import pytest

from endofm.errors import (
    DownloadError,
    EndoFMError,
    EndoFMWarning,
    InputError,
    WeightsNotFoundError,
    cause,
    quoted,
    visible,
)


def test_long_values_are_quoted_in_part() -> None:
    assert quoted("short") == "'short'"
    for value in ("x" * 10**6, b"x" * 10**6, list(range(10**5)), ("\\\\" * 500)):
        assert len(quoted(value)) <= 200
        assert quoted(value).endswith("...")


def test_control_characters_are_written_out() -> None:
    assert visible("a\x1b[2Jb\tc\r\n\x7f\u202e\udcff\u2028") == r"a\x1b[2Jb\tc\r\n\x7f\u202e\udcff\u2028"
    assert visible("polyp, Élodie 日本 😀") == "polyp, Élodie 日本 😀"
    assert visible(visible("\x1b")) == r"\x1b"


@pytest.mark.parametrize("kind", [EndoFMError, InputError, WeightsNotFoundError, DownloadError, EndoFMWarning])
def test_a_message_cannot_reach_the_terminal(kind: type[Exception]) -> None:
    error = kind("a\x1b[2J.mp4: damaged\nendofm: error: another")
    assert str(error) == "a\\x1b[2J.mp4: damaged\n  endofm: error: another"
    assert f"{error}" == str(error)


def test_a_message_keeps_its_own_indented_lines() -> None:
    assert str(InputError("tried:\n  one\n  two")) == "tried:\n  one\n  two"


def test_the_cause_of_another_library_is_one_short_line() -> None:
    assert cause(ValueError("one\ntwo")) == "one"
    assert cause(ValueError("x" * 10**6)) == f"{'x' * 197}..."
    assert cause(KeyError()) == "KeyError"


def test_no_message_is_longer_than_a_page() -> None:
    message = str(InputError(f"{'x' * 10**6}: rename the file"))
    assert len(message) < 2100
    assert message.endswith(": rename the file")
