"""Comparison of settings between sittings of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from endofm.errors import JobError
from endofm.resume import require_same_settings
from endofm.training.config_files import load_config
from endofm.training.config_schema import resume_safe, to_dict, without_resume_safe


@dataclass(frozen=True, kw_only=True)
class Optim:
    lr: float = 0.1
    fused: bool = resume_safe(False)


@dataclass(frozen=True, kw_only=True)
class Apple:
    name: Literal["apple"] = "apple"


@dataclass(frozen=True, kw_only=True)
class Pear:
    name: Literal["pear"] = "pear"
    queue: int = 1024


@dataclass(frozen=True, kw_only=True)
class Config:
    data: tuple[Path, ...]
    fruit: Apple | Pear = field(default_factory=Apple)
    optim: Optim = field(default_factory=Optim)
    speed: int = resume_safe(1)


def test_settings_that_results_depend_on_are_compared(tmp_path: Path) -> None:
    old = Config(data=(Path("a"),), speed=1)
    new = load_config(Config, to_dict(old), ["speed=5", "optim.lr=2", "optim.fused=true", "fruit=pear"])
    stored, requested = (without_resume_safe(to_dict(config), new) for config in (old, new))
    assert "speed" not in {**stored, **requested}
    with pytest.raises(JobError) as caught:
        require_same_settings(tmp_path, stored, requested, remedy="x")
    for difference in (
        "optim.lr was 0.1 and is now 2.0",
        "fruit.name was 'apple' and is now 'pear'",
        "fruit.queue was None and is now 1024",
    ):
        assert difference in str(caught.value)
    assert "speed" not in str(caught.value)
    assert "fused" not in str(caught.value)
