"""Refused settings of the views."""

from __future__ import annotations

import pytest

from endofm.errors import ConfigError
from endofm.training.views.view_config import ViewConfig


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"global_frames": ()}, "at least one global view"),
        ({"global_frames": (8,), "local_frames": ()}, "at least two views"),
        ({"local_frames": (2, 0)}, "local_frames must be a list of integers >= 1"),
        ({"global_frames": 8}, "global_frames must be a list"),
        ({"local_scale": (0.4, 0.1)}, "local_scale must be two fractions"),
        ({"global_scale": (0.4, 1.5)}, "global_scale must be two fractions"),
        ({"global_scale": (0.4,)}, "global_scale must hold 2 numbers"),
        ({"local_parts": 1}, "local_parts must be an integer >= 2"),
        ({"flip_probability": 2}, "flip_probability must be a number >= 0 and <= 1, got 2"),
        ({"std": (0.2, 0.2, 0.0)}, "std must be positive"),
        ({"crop_rule": "best"}, "crop_rule must be one of first_fit, last_try; got 'best'"),
        ({"grey_weights": "grb"}, "grey_weights must be one of rgb, bgr"),
        ({"span_seconds": 0}, "span_seconds must be a number > 0"),
        ({"shared_draws": -1}, "shared_draws must be an integer >= 0"),
    ],
)
def test_invalid_settings_are_refused(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        ViewConfig(**settings_)  # type: ignore[arg-type]
