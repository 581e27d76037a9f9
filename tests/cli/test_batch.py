"""What all commands over many videos share: stills as inputs, and models of this package where none is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from endofm import EndoFMForVideoClassification, VideoDetections, VideoMasks, load_model
from endofm.cli.main import main


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn lumen with a bright hill, as a JPEG file."""
    y, x = np.mgrid[:240, :320]
    shade = np.clip(1.1 - np.hypot(x - 160, y - 120) / 260, 0, 1)[..., None]
    picture = Image.fromarray((shade * [205, 120, 95]).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse((170, 90, 250, 160), fill=(235, 150, 130), outline=(140, 60, 50))
    path = tmp_path_factory.mktemp("stills") / "drawn.jpg"
    picture.save(path)
    return path


def test_polyps_of_a_still_are_segmented_offline(
    still: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "masks.json", tmp_path / "masks.png"
    assert main(["segment", str(still), "-o", str(files[0]), "-o", str(files[1]), "--local-files-only"]) == 0
    assert "no --weights given, taking endofm-nano-polyp-masks" in capsys.readouterr().err
    masks = VideoMasks.load(files[0])
    assert masks.labels == ("background", "polyp")
    assert masks[0].labels.shape == (240, 320)
    with Image.open(files[1]) as painted:
        assert painted.size == (320, 240)


def test_polyps_of_a_still_are_detected_offline(
    still: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "boxes.json", tmp_path / "boxes.png"
    options = ["--min-score", "0.01", "--local-files-only"]
    assert main(["detect", str(still), *options, "-o", str(files[0]), "-o", str(files[1])]) == 0
    assert "no --weights given, taking endofm-nano-polyp-boxes" in capsys.readouterr().err
    found = VideoDetections.load(files[0])
    assert found.label_names == ("polyp",)
    assert len(found[0]) > 0
    with Image.open(files[1]) as painted:
        assert painted.size == (320, 240)


def test_the_organ_of_a_still_is_named_offline(still: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(still), "-o", str(tmp_path / "organ.json"), "--local-files-only"]) == 0
    printed = capsys.readouterr()
    assert "no --weights given, taking endofm-nano-organs" in printed.err
    organ = json.loads((tmp_path / "organ.json").read_text(encoding="utf-8"))
    assert organ["labels"] == ["colon", "larynx", "abdomen"]
    assert sum(organ["video"]["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert f": {organ['video']['predicted'][0]} (" in printed.out


def test_the_score_that_the_weights_say_is_recorded(still: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["detect", str(still), "-o", str(out), "--quiet"]) == 0
    settings = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["settings"]
    assert settings["weights"] == "endofm-nano-polyp-boxes"
    assert settings["min_score"] == load_model("endofm-nano-polyp-boxes").head_config.min_score
    assert (out / "drawn.jpg.json").is_file()


def test_a_command_leaves_the_number_of_threads_to_the_program(still: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def predict(*args: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return whole(*args, **options)

    whole = EndoFMForVideoClassification.predict
    torch.set_num_threads(2)
    try:
        with patch.object(EndoFMForVideoClassification, "predict", predict):
            command = ["classify", str(still), "--threads", "1", "--quiet", "-o"]
            assert main([*command, str(tmp_path / "out")]) == 0
            assert main([*command, str(tmp_path / "one.json")]) == 0
        assert (seen, torch.get_num_threads()) == ([1, 1], 2)
    finally:
        torch.set_num_threads(before)


def test_quiet_commands_do_not_name_their_weights(
    still: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(still), "-o", str(tmp_path / "masks.json"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
