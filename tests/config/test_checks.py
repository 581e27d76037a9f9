"""Field checks of configurations: what passes, and what the messages state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from endofm.config import EncoderConfig, PreprocessConfig
from endofm.config.checks import (
    from_mapping,
    require_bool,
    require_choice,
    require_int,
    require_number,
    require_str,
)
from endofm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Settings:
    value: Any = None
    rates: tuple[float, ...] = ()


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
def test_integers(value: object) -> None:
    require_int(Settings(value=3), "value")
    require_int(Settings(value=0), "value", low=0)
    with pytest.raises(ConfigError, match=r"Settings\.value must be an integer >= 1, got "):
        require_int(Settings(value=value), "value")


@pytest.mark.parametrize("value", [0, 1, float("nan"), float("inf"), True, "0.5"])
def test_numbers_between_open_limits(value: object) -> None:
    require_number(Settings(value=0.5), "value", low=0, high=1, open_low=True, open_high=True)
    with pytest.raises(ConfigError, match=r"must be a number > 0 and < 1, got "):
        require_number(Settings(value=value), "value", low=0, high=1, open_low=True, open_high=True)


def test_closed_limits_belong_to_the_range() -> None:
    for value in (0, 1):
        require_number(Settings(value=value), "value", low=0, high=1)
    with pytest.raises(ConfigError, match="must be a number >= 0, got -1"):
        require_number(Settings(value=-1), "value", low=0)


def test_other_kinds() -> None:
    with pytest.raises(ConfigError, match="must be true or false, got 1"):
        require_bool(Settings(value=1), "value")
    with pytest.raises(ConfigError, match="must be a string, got 1"):
        require_str(Settings(value=1), "value")
    with pytest.raises(ConfigError, match="must be one of a, b; got 'c'"):
        require_choice(Settings(value="c"), "value", ("a", "b"))


def test_mappings_become_dataclasses() -> None:
    assert from_mapping(Settings, {"rates": [0.1, 0.2]}, "x.json") == Settings(rates=(0.1, 0.2))
    with pytest.raises(ConfigError, match=r"x\.json: unknown key 'rate' in Settings; did you mean 'rates'"):
        from_mapping(Settings, {"rate": 1}, "x.json")
    with pytest.raises(ConfigError, match="accepted keys: value, rates"):
        from_mapping(Settings, {"zzz": 1}, "x.json")
    with pytest.raises(ConfigError, match="expected a JSON object"):
        from_mapping(Settings, [1], "x.json")


@pytest.mark.parametrize(
    ("part", "values"),
    [
        (EncoderConfig, {"depth": 10**9}),
        (EncoderConfig, {"num_frames": 10**18}),
        (EncoderConfig, {"embed_dim": 2**63}),
        (EncoderConfig, {"layer_norm_eps": 10**400}),
        (EncoderConfig, {"mlp_ratio": float("nan")}),
        (PreprocessConfig, {"num_frames": 10**9}),
        (PreprocessConfig, {"short_side": 10**400}),
        (PreprocessConfig, {"window_seconds": "x" * 10**6}),
        (PreprocessConfig, {"std": [1] * 10**5}),
    ],
)
def test_absurd_values_are_refused_in_a_short_message(part: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        from_mapping(part, values, "config.json")
    assert len(str(error.value)) < 600
