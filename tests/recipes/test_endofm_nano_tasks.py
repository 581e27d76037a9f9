"""The recipe of the packaged task models: settings, lists, cards, and scores that can be measured again."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from endofm.hub.registry import get_record
from endofm.models.auto import model_class
from endofm.training.config_files import load_config
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.detection_config import DetectionConfig
from endofm.training.finetune.segmentation_config import SegmentationConfig
from helpers.paths import REPOSITORY

RECIPE = REPOSITORY / "recipes" / "endofm-nano-tasks"
WEIGHTS = REPOSITORY / "endofm" / "weights"
NAMES = ("endofm-nano-polyp-masks", "endofm-nano-organs", "endofm-nano-polyp-boxes")
SCORES: dict[str, Any] = json.loads((RECIPE / "scores.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))


def test_the_settings_are_those_of_the_records() -> None:
    masks = load_config(SegmentationConfig, RECIPE / "masks.yaml", ["data.train=[x]"])
    head = get_record(NAMES[0]).config.head
    assert (masks.model.name, masks.model.network, masks.model.light_width) == (
        NAMES[0],
        head.network,
        head.light_width,
    )
    boxes = load_config(DetectionConfig, RECIPE / "boxes.yaml", ["data.root=x"])
    head = get_record(NAMES[2]).config.head
    assert (boxes.model.name, boxes.model.channels, boxes.data.labels) == (NAMES[2], head.channels, head.labels)
    organs = load_config(ClassificationConfig, RECIPE / "organs.yaml", ["data.train=[x]"])
    assert (organs.model.name, organs.data.classes) == (NAMES[1], get_record(NAMES[1]).config.head.labels)


def test_the_start_keeps_what_the_encoder_knows(tmp_path: Path) -> None:
    from endofm import EndoFM

    command = [sys.executable, str(RECIPE / "start.py"), "endofm-nano-4x96", str(tmp_path), "--side", "96"]
    subprocess.run(command, check=True)
    start, encoder = EndoFM.from_pretrained(tmp_path), EndoFM.from_pretrained("endofm-nano-4x96")
    torch.testing.assert_close(start.pos_embed, encoder.pos_embed)
    assert start.time_embed.shape[1] == start.config.encoder.num_frames == 1
    assert torch.equal(start.blocks[0].attn.qkv.weight, encoder.blocks[0].attn.qkv.weight)


def test_no_scored_picture_is_trained_on(tmp_path: Path) -> None:
    real, rng = tmp_path / "real", np.random.default_rng(0)

    def picture(name: str) -> None:
        path = real / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Blocks: the perceptual hash sees low frequencies only.
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((64, 64), 0).save(path)

    rows = ["image,split,near_duplicate_in_another_split"]
    for number in range(12):
        picture(f"kvasir_seg/images/{number:02}.jpg")
        picture(f"kvasir_seg/masks/{number:02}.png")
        rows.append(f"{number:02}.jpg,{'val' if number < 3 else 'train'},{int(number == 11)}")
    (real / "kvasir_seg/images/10.jpg").write_bytes((real / "kvasir_seg/images/09.jpg").read_bytes())
    (real / "kvasir_seg/splits.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name in ("patient2/seq5/1.png", "patient2/seq6/1.png"):
        picture(f"vocalfolds/images/{name}")
    for name in ("00001-1-frame-0.jpg", "00004-1-frame-0.jpg", "00004-1-frame-9.jpg"):
        picture(f"laparoscopy/{name}")
    command = [sys.executable, str(RECIPE / "labels.py"), str(real), str(tmp_path / "work")]
    subprocess.run(command, check=True)

    parts: dict[str, set[str]] = {}
    for part in ("train", "val", "test"):
        with (tmp_path / f"work/polyps/{part}.csv").open(encoding="utf-8") as file:
            parts[part] = {Path(row["frames"]).stem for row in csv.DictReader(file)}
    assert parts["test"] == {"00", "01", "02"}
    assert parts["train"] | parts["val"] == {f"{number:02}" for number in range(3, 11)}, "11 looks like a scored one"
    assert not parts["train"] & parts["val"]
    assert any({"09", "10"} <= names for names in parts.values()), "pictures that look alike stay together"
    with (tmp_path / "work/organs.csv").open(encoding="utf-8") as file:
        organs = [(Path(row["path"]).name, row["label"], row["split"]) for row in csv.DictReader(file)]
    assert ("1.png", "larynx", "test") in organs
    assert ("1.png", "larynx", "train") in organs
    assert [row for row in organs if row[1] == "abdomen"] == [
        ("00001-1-frame-0.jpg", "abdomen", "train"),
        ("00004-1-frame-0.jpg", "abdomen", "test"),
        ("00004-1-frame-9.jpg", "abdomen", "test"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_has_the_texts_and_scores_of_the_recipe(name: str) -> None:
    from cards import evaluation, sections

    card = (WEIGHTS / name / "README.md").read_text(encoding="utf-8")
    for text in (*sections(name).values(), evaluation(name, SCORES[name])):
        assert text in card


def test_masks_are_better_than_the_same_mask_for_all() -> None:
    model, control = (SCORES[NAMES[0]][row]["dice_frame"] for row in ("model", "control"))
    assert model["low"] > control["high"]


@pytest.mark.parametrize("name", NAMES)
def test_the_scores_can_be_measured_again(name: str, tmp_path: Path) -> None:
    if not os.environ.get("ENDOFM_REAL"):
        pytest.skip("no folder of real images (set ENDOFM_REAL)")
    from scoring import box_scores, chosen, find_boxes, mask_scores, organ_scores

    command = [sys.executable, str(RECIPE / "labels.py"), os.environ["ENDOFM_REAL"], str(tmp_path)]
    subprocess.run(command, check=True)
    model: Any = model_class(get_record(name).task).from_pretrained(name, local_files_only=True)
    if name == NAMES[2]:
        found = box_scores(find_boxes(model, tmp_path, "test"), model.head_config.min_score)
    else:
        measure = mask_scores if name == NAMES[0] else organ_scores
        found = measure(model, tmp_path, "test")
    measured = {metric: interval.value for metric, interval in chosen(name, found).items()}
    recorded = {metric: values["value"] for metric, values in SCORES[name]["model"].items()}
    assert measured == pytest.approx(recorded, abs=5e-3)


@pytest.mark.parametrize("script", ["labels.py", "start.py", "package_weights.py"])
def test_every_script_explains_itself(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(RECIPE / script), "--help"]
    assert "usage" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
