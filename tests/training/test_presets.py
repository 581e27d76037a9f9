"""The two presets, and the table that tells their differences."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import yaml

from endofm.training.objectives.endofm.endofm_config import (
    EndoFMFixedConfig,
    EndoFMObjectiveConfig,
    EndoFMPublishedConfig,
)
from helpers import paths

PAGE = paths.REPOSITORY / "docs" / "pretraining.md"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{name}."))
        else:
            out[prefix + name] = value
    return out


def test_the_table_of_the_documentation_is_the_difference_of_the_presets() -> None:
    published, fixed = flat(asdict(EndoFMPublishedConfig())), flat(asdict(EndoFMFixedConfig()))
    assert published.pop("name") == "endofm"
    assert fixed.pop("name") == "endofm-fixed"
    assert published.keys() == fixed.keys()
    differences = {key: (published[key], fixed[key]) for key in published if published[key] != fixed[key]}
    rows = re.findall(r"^\| `([\w.]+)` \| `(\w+)` \| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {key: (yaml.safe_load(old), yaml.safe_load(new)) for key, old, new in rows} == differences
    assert len(rows) == 5


def test_the_presets_are_named_and_the_defaults_are_the_fixed_one() -> None:
    assert (EndoFMPublishedConfig().name, EndoFMFixedConfig().name) == ("endofm", "endofm-fixed")
    plain = asdict(EndoFMObjectiveConfig())
    assert plain == {key: value for key, value in asdict(EndoFMFixedConfig()).items() if key != "name"}
