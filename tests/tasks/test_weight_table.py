"""The records of the package's own weights."""

from __future__ import annotations

import pytest

from endofm.config import EncoderConfig
from endofm.hub.registry import get_record, list_models


def test_the_known_weights() -> None:
    assert [name for name in list_models() if not get_record(name).family] == [
        "endofm-base-8x224",
        "endofm-nano-4x96",
        "endofm-nano-polyp-masks",
        "endofm-nano-polyp-boxes",
        "endofm-nano-organs",
        "endofm-tiny-8x224-random",
        "endofm-small-8x224-random",
        "endofm-base-8x224-random",
        "endofm-classification-tiny-random",
        "endofm-segmentation-tiny-random",
        "endofm-segmentation-base-random",
        "endofm-detection-tiny-random",
    ]


@pytest.mark.parametrize("name", list_models())
def test_every_record_agrees_with_itself(name: str) -> None:
    record = get_record(name)
    assert record.config.name == record.name == name
    assert record.config.license == record.license
    assert record.config.trained == (record.random_seed is None) == (not name.endswith("-random"))
    assert ("mean nothing" in record.description) == (not record.config.trained)


def test_the_published_backbone() -> None:
    record = get_record("endofm-base-8x224")
    assert record.config.encoder == EncoderConfig()
    assert record.num_parameters == 121_258_752
    # Stated by independent inspections of the file.
    assert {m.sha256 for m in record.mirrors} == {"6fc7a64a044f1eff3b7f9eb233df37a3607735848d534364f12c2aebad1aea70"}
    assert all("Not tried by us" in mirror.status for mirror in record.mirrors)
    assert "PolypDiag" not in record.datasets_held_out
    assert "PolypDiag" in record.overlaps[0]
    assert {(s.dataset, s.value) for s in record.scores if "paper" in s.source} == {
        ("PolypDiag", 90.7),
        ("CVC-12k", 73.9),
        ("KUMC", 84.1),
    }
