"""Published tables of a set, and the folders that its files are expected in."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from endofm.bench.probe_set import Part
from endofm.data.hold_out import hold_out
from endofm.errors import ConfigError, InputError, quoted


def required(path: Path, what: str) -> Path:
    """Return a file or folder of a set.

    Raises:
        InputError: If it does not exist; the message names where it is expected.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder; expected {what}")
    return path


def table_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names of its columns; commas, semicolons or tabs separate them.

    Raises:
        InputError: If it does not exist, cannot be read or lacks a column.
    """
    required(path, f"a table with the columns {', '.join(columns)}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    first = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=max(",;\t", key=first.count))
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: its first line does not name {', '.join(missing)}; got {quoted(first)}")
    return [{name: value or "" for name, value in row.items() if name is not None} for row in reader]


def part_of(value: str, parts: Mapping[str, Part], source: str) -> Part | None:
    """Return the side of the split that a value of a published column stands for; None if it is left out.

    Raises:
        ConfigError: If no value is known at all, which would leave everything out.
    """
    if not parts:
        raise ConfigError(f"{source}: the suite does not say which values of its split are train and test (parts)")
    return parts.get(value)


def declared_split(groups: list[str], fraction: float) -> dict[str, Part]:
    """Return a split by group where the authors published none: the groups first in the order of a hash are the test.

    Args:
        groups: Names of the groups, in any order.
        fraction: Fraction of the groups to test on.
    """
    names = sorted(set(groups))
    _, held = hold_out(names, lambda name: name, fraction)
    return {name: "test" if name in set(held) else "train" for name in names}


def group_of(name: str, pattern: str) -> str:
    """Return the part of a name that a pattern matches (its first group), or the name itself without a pattern.

    Raises:
        ConfigError: If the pattern is no regular expression or has no group.
        InputError: If it does not match.
    """
    if not pattern:
        return name
    try:
        match = re.search(pattern, name)
        if match is not None:
            return match[1]
    except (re.error, IndexError) as error:
        raise ConfigError(f"the pattern {quoted(pattern)} is not usable ({error}); it needs one group") from error
    raise InputError(f"{name}: this name does not have the published form ({pattern})")
