"""Limits on JSON from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from endofm import json_text
from endofm.json_text import MAX_DEPTH, parse_json, read_json

PACKAGE = Path(json_text.__file__).parent


def test_ordinary_values_are_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5, null, "\xc3\xa9"]}')
    expected = {"a": [1, 2.5, None, "\u00e9"]}
    assert read_json(tmp_path / "a.json") == expected
    assert parse_json('\ufeff{"a": [1, 2.5, null, "\u00e9"]}') == expected


def test_the_deepest_nesting_allowed_is_read() -> None:
    value = parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 900, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_a_value_error(depth: int, left: str, right: str) -> None:
    middle = "1" if left != "[" else ""
    with pytest.raises(ValueError, match=f"more than {MAX_DEPTH} deep"):
        parse_json(left * depth + middle + right * depth)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"{", b"", b"[1" + b"0" * 5000 + b"]", "[" * 100_000])
def test_anything_else_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message is that of the parser)
        parse_json(text)


def test_a_file_that_is_too_long_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_BYTES", 1000)
    (tmp_path / "a.json").write_text("[" + "1," * 1000 + "1]")
    with pytest.raises(ValueError, match="longer than"):
        read_json(tmp_path / "a.json")


def test_every_json_text_from_outside_is_parsed_here() -> None:
    direct = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"json\.loads?\((?!json\.dumps)", path.read_text(encoding="utf-8"))
    }
    assert direct == {"json_text.py"}
