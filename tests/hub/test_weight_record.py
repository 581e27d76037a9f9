"""Records of weights, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from endofm.config import ModelConfig
from endofm.errors import ConfigError
from endofm.hub.weight_record import Mirror, WeightRecord

SHA = "ab" * 32
MIRROR = Mirror(url="https://files.example.org/x.pth", sha256=SHA, layout="checkpoint")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Upper"}, "lower-case"),
        ({"name": "a/b"}, "lower-case"),
        ({"mirrors": ()}, "random_seed"),
        ({"random_seed": 1}, "random_seed"),
        ({"mirrors": (), "random_seed": 1}, "trained"),
        ({"sha256": "123"}, "64 hexadecimal"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(fields: dict[str, object], message: str) -> None:
    good = WeightRecord(name="ours", description="", config=ModelConfig(), mirrors=(MIRROR,))
    with pytest.raises(ConfigError, match=message):
        replace(good, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"url": ""}, {"url": "ftp://x"}, {"sha256": SHA.upper()}, {"layout": "zip"}, {"page": "javascript:x"}]
)
def test_a_mirror_that_cannot_work_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Mirror"):
        replace(MIRROR, **fields)  # type: ignore[arg-type]
