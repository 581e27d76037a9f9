"""Saved masks are scored as the model that made them would be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from endofm.cli.main import main
from endofm.data.segmentation.masked_clips import read_list
from endofm.errors import InputError
from endofm.evaluation.saved_masks import SavedMasks
from helpers.masked_sets import folder_set
from helpers.small_segmenter import small_segmenter

pytest.importorskip("torchmetrics")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("saved")
    folder_set(root, clips=3)
    small_segmenter("light").save_pretrained(root / "model")
    command = ["segment", str(root / "frames"), "-o", str(root / "predicted"), "--weights", str(root / "model")]
    assert main([*command, "--overlap", "2", "--quiet"]) == 0
    return root


def score(root: Path, out: Path, *what: str) -> dict[str, object]:
    clips = str(root / "train.csv")
    assert main(["evaluate", "segmentation", clips, *what, "--resamples", "0", "-o", str(out)]) == 0
    report: dict[str, object] = json.loads((out / "report.json").read_text())
    return report


def test_masks_of_a_model_have_its_scores(made: Path, tmp_path: Path) -> None:
    direct = score(made, tmp_path / "model", "--weights", str(made / "model"), "--overlap", "2")
    saved = score(made, tmp_path / "saved", "--predictions", str(made / "predicted"))
    assert saved["metrics"] == direct["metrics"]
    assert saved["settings"]["weights_sha256"] == direct["settings"]["weights_sha256"]  # type: ignore[index]


def test_what_has_no_masks_is_left_out_and_named(made: Path, tmp_path: Path) -> None:
    (clip,) = read_list(made / "train.csv", part="train")
    frames = made / "predicted"
    part = tmp_path / "part"
    shutil.copytree(frames, part)
    manifest = json.loads((part / "manifest.json").read_text())
    manifest["videos"] = [row for row in manifest["videos"] if not row["source"].endswith("2")]
    (part / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has no masks of"):
        SavedMasks(part).predict(clip, None, None)  # type: ignore[arg-type]
    assert main(["evaluate", "segmentation", str(made / "train.csv"), "--predictions", str(part)]) == 1


@pytest.mark.parametrize("what", [[], ["--weights", "x", "--predictions", "y"], ["--predictions", "/dev/null"]])
def test_one_of_both_is_needed(made: Path, what: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "segmentation", str(made / "train.csv"), *what]) == 1
    assert "endofm: error:" in capsys.readouterr().err
