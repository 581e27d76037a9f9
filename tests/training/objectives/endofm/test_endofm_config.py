"""Settings of Endo-FM's objective: its presets, the table of their differences, and refused values."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest
import yaml

from endofm.errors import ConfigError
from endofm.training.objectives.endofm.endofm_config import (
    EndoFMFixedConfig,
    EndoFMObjectiveConfig,
    EndoFMPublishedConfig,
    ProjectionHeadConfig,
)
from helpers import paths


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_temp": 0}, "teacher_temp must be a number > 0, got 0"),
        ({"teacher_momentum": 1.2}, "teacher_momentum must be a number >= 0 and <= 1"),
        ({"drop_path_rate": 1}, "drop_path_rate must be < 1"),
        ({"warmup_epochs": 1.5}, "warmup_epochs must be an integer >= 0"),
        ({"clip_gradient": float("nan")}, "clip_gradient must be a number > 0"),
        ({"teacher_drop_path": "yes"}, "teacher_drop_path must be true or false"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EndoFMObjectiveConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="out_dim must be an integer >= 2"):
        ProjectionHeadConfig(out_dim=1)


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


def test_the_defaults_are_the_fixed_preset() -> None:
    assert (EndoFMPublishedConfig().name, EndoFMFixedConfig().name) == ("endofm", "endofm-fixed")
    plain = asdict(EndoFMObjectiveConfig())
    assert plain == {key: value for key, value in asdict(EndoFMFixedConfig()).items() if key != "name"}
