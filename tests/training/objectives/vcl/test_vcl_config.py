"""Settings of VCL."""

from __future__ import annotations

import pytest

from endofm.errors import ConfigError
from endofm.training.objectives.vcl.vcl_config import VCLConfig


@pytest.mark.parametrize(
    "change",
    [
        {"concepts": 0},
        {"max_stride": 0.5},
        {"colour": "grey"},
        {"crop_scale": (0.5, 0.2)},
        {"crop_scale": (0.5,)},
        {"queue_size": -1},
        {"assign_temp": 0},
        {"decoupling_weight": -1},
        {"local_start_epoch": 1.5},
    ],
)
def test_invalid_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        VCLConfig(**change)  # type: ignore[arg-type]


def test_local_contrast_starts_at_epoch_10_or_after_a_third_of_a_short_run() -> None:
    assert [VCLConfig().local_start(epochs) for epochs in (100, 30, 29, 6, 1)] == [10, 10, 9, 2, 0]
    assert VCLConfig(local_start_epoch=4).local_start(100) == 4
