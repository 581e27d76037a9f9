"""The reference table of settings: complete, equal to the documentation, and read from docstrings of a fixed layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from endofm.cli.main import main
from endofm.training.config_schema import resume_safe
from endofm.training.pretrain_config import PretrainConfig
from endofm.training.settings_table import settings_table
from helpers.paths import REPOSITORY


def test_the_page_shows_the_table_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    table = settings_table(PretrainConfig)
    page = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
    assert table in page, "docs/training.md: replace the table by the output of `endofm pretrain --settings`"
    assert not [row for row in table.splitlines() if row.endswith("|  |")], "a setting lacks its documentation"
    assert main(["pretrain", "--settings"]) == 0
    assert capsys.readouterr().out == table + "\n"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base class.

    Attributes:
        rate: Learning rate, see
            :class:`~endofm.config.EncoderConfig`.
        size: Described by the base class.
    """

    rate: float = 5e-4
    size: int = 3


@dataclass(frozen=True, kw_only=True)
class Apple(Base):
    """An apple.

    Attributes:
        name: Selects this class.
        size: In ``cm``, or "a|b".
    """

    name: Literal["apple"] = "apple"


@dataclass(frozen=True, kw_only=True)
class Pear(Base):
    """A pear, with further words
    on a second line.

    Attributes:
        name: Selects this class.
    """

    name: Literal["pear"] = "pear"


@dataclass(frozen=True, kw_only=True)
class Basket:
    """A basket.

    Attributes:
        fruit: Its content.
        workers: Processes.
        path: Where it is kept.
    """

    fruit: Apple | Pear = field(default_factory=Apple)
    workers: int = resume_safe(2)
    path: str
    undocumented: bool | None = None


def test_docstrings_of_the_described_layout_become_rows() -> None:
    assert settings_table(Basket).splitlines()[2:] == [
        "| **`fruit`** | | | Its content. |",
        "| *`fruit: apple`* | | | An apple. |",
        "| `fruit.rate` | number | 0.0005 | Learning rate, see `EncoderConfig`. |",
        '| `fruit.size` | integer | 3 | In `cm`, or "a\\|b". |',
        "| `fruit.name` | `apple` | apple | Selects this class. |",
        "| *`fruit: pear`* | | | A pear, with further words |",
        "| `fruit.size` | integer | 3 | Described by the base class. |",
        "| `fruit.name` | `pear` | pear | Selects this class. |",
        "| `workers`* | integer | 2 | Processes. |",
        "| `path` | string | required | Where it is kept. |",
        "| `undocumented` | true or false or null | null |  |",
    ]
