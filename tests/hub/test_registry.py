from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from endofm.config import EncoderConfig, ModelConfig
from endofm.errors import ConfigError, WeightsNotFoundError
from endofm.hub import registry
from endofm.hub.registry import find_record, get_record, list_models, register
from endofm.hub.weight_record import Mirror, WeightRecord

SHA = "ab" * 32
MIRROR = Mirror(url="https://files.example.org/x.pth", sha256=SHA, layout="checkpoint")


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a test a registry that it may change."""
    list_models()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def test_the_known_weights() -> None:
    assert list_models() == [
        "endofm-base-8x224",
        "endofm-nano-4x96",
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


def test_an_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(WeightsNotFoundError, match=r"Did you mean endofm-base-8x224"):
        get_record("endofm-base-8x225")
    with pytest.raises(WeightsNotFoundError, match="Registered names: endofm-base-8x224, "):
        get_record("???")
    assert find_record("???") is None


@pytest.mark.usefixtures("own_registry")
def test_a_site_registers_its_own_mirror() -> None:
    record = get_record("endofm-base-8x224")
    changed = replace(record, mirrors=(MIRROR, *record.mirrors))
    with pytest.raises(ConfigError, match="overwrite=True"):
        register(changed)
    register(changed, overwrite=True)
    assert get_record("endofm-base-8x224").mirrors[0] is MIRROR
    register(replace(record, name="ours"))
    assert list_models()[-1] == "ours"


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


def test_listing_needs_no_torch() -> None:
    program = "import sys, endofm.hub.registry as r; r.list_models(); print([m for m in sys.modules if m == 'torch'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
