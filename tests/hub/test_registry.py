from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from endofm.errors import ConfigError, WeightsNotFoundError
from endofm.hub import registry
from endofm.hub.registry import find_record, get_record, list_models, register
from endofm.hub.weight_record import Mirror

SHA = "ab" * 32
MIRROR = Mirror(url="https://files.example.org/x.pth", sha256=SHA, layout="checkpoint")


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a test a registry that it may change."""
    list_models()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


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


def test_listing_needs_no_torch() -> None:
    program = "import sys, endofm.hub.registry as r; r.list_models(); print([m for m in sys.modules if m == 'torch'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
