"""The recipe of the packaged encoder: its settings are valid, and its card is the one that the recipe writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from endofm.hub.registry import get_record
from endofm.training.config_files import load_config
from endofm.training.objectives.distill.distill_config import DistillConfig
from endofm.training.pretrain_config import PretrainConfig
from helpers.paths import REPOSITORY

RECIPE = REPOSITORY / "recipes" / "endofm-nano-4x96"
CARD = REPOSITORY / "endofm" / "weights" / "endofm-nano-4x96" / "README.md"


def test_the_settings_are_valid_and_those_of_the_record() -> None:
    config = load_config(PretrainConfig, RECIPE / "distill.yaml", ["data.clips=x"])
    assert isinstance(config.objective, DistillConfig)
    record = get_record("endofm-nano-4x96").config
    assert config.model.name == record.name
    assert config.model.encoder == record.encoder
    assert config.model.preprocess == record.preprocess


def test_the_card_documents_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))
    from package_weights import DATA, IT_IS_NOT, PROCEDURE, READING

    card = CARD.read_text(encoding="utf-8")
    for text in (DATA, IT_IS_NOT, PROCEDURE, READING):
        assert text in card


def test_the_card_names_what_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))
    from package_weights import COLUMNS, shortfalls

    def row(value: float) -> dict[str, dict[str, dict[str, float]]]:
        return {probe: {key: {"value": value} for p, key in COLUMNS if p == probe} for probe, _ in COLUMNS}

    good = {"endofm-nano-4x96": row(0.97), "histogram": row(0.9), "efficientnet-lite0": row(0.99)}
    assert "every aim" in shortfalls(good)
    poor = shortfalls({"endofm-nano-4x96": row(0.88), "histogram": row(0.9)})
    assert "polyp crop, linear is 0.880, below the aim of 0.90" in poor
    assert "polyp crop, k-NN is 0.880, not above colour histogram (0.900)" in poor
    assert "polyp crop, k-NN is 0.880, below" not in poor


def test_no_picture_of_another_part_is_listed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    for name in ("kvasir_seg/images/a.jpg", "kvasir_seg/images/b.jpg", "kvasir_seg/images/c.jpg", "laparoscopy/d.jpg",
                 "vocalfolds/images/e.png", "wce/f.jpg"):  # fmt: skip
        (real / name).parent.mkdir(parents=True, exist_ok=True)
        (real / name).touch()
    rows = ("image,split,near_duplicate_in_another_split", "a.jpg,train,0", "b.jpg,val,0", "c.jpg,train,1")
    (real / "kvasir_seg/splits.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    command = [sys.executable, str(RECIPE / "pictures.py"), str(real), str(tmp_path / "list.csv")]
    subprocess.run(command, capture_output=True, text=True, check=True)
    listed = (tmp_path / "list.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [Path(line.split(",")[0]).name for line in listed] == ["a.jpg", "e.png", "d.jpg"]


@pytest.mark.parametrize("script", sorted(path.name for path in RECIPE.glob("*.py")))
def test_every_script_explains_itself(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(RECIPE / script), "--help"]
    assert "usage" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
