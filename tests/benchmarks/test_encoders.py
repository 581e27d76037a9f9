"""The table of kinds: each encoder beside a network that computes the same."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.encoders import NAMES, main, plain_network, read_rows
from endofm.config import EncoderConfig
from endofm.config.mamba_config import MambaConfig
from endofm.config.timm_config import TimmConfig
from endofm.config.vjepa_config import VJepaConfig
from endofm.hub.registry import get_record
from endofm.models.build import build_encoder
from helpers.paths import REPOSITORY

SMALL = EncoderConfig(img_size=32, embed_dim=64, depth=2, num_heads=1)
IMAGE = replace(SMALL, attention_type="space_only", table_resize="bicubic", pooling="mean_of_norms")


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(SMALL, id="divided"),
        pytest.param(IMAGE, id="image"),
        pytest.param(MambaConfig(img_size=32, embed_dim=64, depth=2, spatial_depth=1), id="mamba"),
        pytest.param(TimmConfig(model="test_convnext", img_size=64, embed_dim=64, patch_size=32), id="timm"),
        pytest.param(VJepaConfig(img_size=32, embed_dim=64, depth=1, num_heads=1, num_frames=8), id="v-jepa"),
    ],
)
def test_both_compute_the_same(config: EncoderConfig) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("timm")
    encoder = build_encoder(config).eval()
    label, plain = plain_network(encoder)
    clip = torch.randn(1, 3, config.num_frames, config.img_size, config.img_size)
    with torch.inference_mode():
        ours, theirs = encoder(clip), plain(clip)
    assert ours.shape == theirs.shape
    if "weights of its own" not in label:
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_every_kind_has_a_row() -> None:
    encoders = [get_record(name).config.encoder for name in NAMES]
    assert {encoder.kind for encoder in encoders} >= {"", "v-jepa-2", "endomamba", "timm"}
    assert any(getattr(encoder, "attention_type", "") == "space_only" for encoder in encoders)


def test_rows_of_several_runs_are_kept_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "rows.json", tmp_path / "rows.png"
    for name in ("endomamba-tiny-random", "endovit-tiny-random"):
        main(["--names", name, "--frames", "2", "--rounds", "1", "--json", str(file)])
    cells = capsys.readouterr().out.splitlines()[2].strip("| ").split(" | ")
    assert cells[:2] == ["`endomamba-tiny-random`", "2 x 64"]
    assert float(cells[2]) > 0
    main(["--names", "--json", str(file), "--plot", str(picture)])
    assert [row.name for row in read_rows(file)] == ["endomamba-tiny-random", "endovit-tiny-random"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_added_memory() -> None:
    # In a new process, which has no freed memory to take the tensor from.
    code = "import torch; from benchmarks.encoders import added_memory as added; "
    code += "print(added(lambda: torch.zeros(50_000_000, dtype=torch.uint8).add_(1)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    if done.stdout.strip() == "None":
        pytest.skip("memory is measured on Linux alone")
    assert 40e6 < int(done.stdout) < 80e6
