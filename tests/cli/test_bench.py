"""``endofm bench`` as a process, on drawn sets."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from PIL import Image

from endofm.bench.comparison import ALL_CONTROLS, with_controls
from endofm.bench.report_files import read_scores
from endofm.cli.main import main
from helpers.made_real_stills import write_real_stills

WEIGHTS = ("--weights", "endofm-nano-4x96,histogram", "--controls", "thumbnail", "--frames", "1", "--resamples", "20")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_real_stills(tmp_path_factory.mktemp("real"))


def command(root: Path, out: Path) -> list[str]:
    suite = ["--suite", "real-stills", "--sets", "surgery,bleeding-folds,polyp-patch"]
    return [sys.executable, "-m", "endofm", "bench", *WEIGHTS, *suite, "--root", str(root), "-o", str(out)]


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that was killed after its first cell, and rerun."""
    out = tmp_path_factory.mktemp("bench")
    process = subprocess.Popen(command(root, out), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 900
    while not list(out.glob("cells/surgery/[!.]*.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {file: file.stat().st_mtime_ns for file in out.glob("cells/*/[!.]*.json")}
    assert 1 <= len(first) < 9
    done = subprocess.run(command(root, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What was finished was not computed again, and everything else was.
    assert done.stdout.count("(kept)") == len(first)
    assert {file: file.stat().st_mtime_ns for file in first} == first
    assert len(list(out.glob("cells/*/[!.]*.json"))) == 9
    assert not list(out.rglob(".partial-*"))
    assert not list((out / "decoded").iterdir())
    (out / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return out


def test_scores_of_every_encoder_and_set(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert results["encoders"] == ["endofm-nano-4x96", "histogram", "thumbnail"]
    values = {(row["encoder"], row["set"], row["score"]): row for row in results["scores"]}
    # Thumbnails have no cells.
    assert ("thumbnail", "polyp-patch", "linear") not in values
    assert values["histogram", "polyp-patch", "linear"]["value"] > 0.9
    assert values["histogram", "bleeding-folds", "k-NN"]["value"] > 0.9
    for row in values.values():
        assert row["low"] <= row["value"] + 0.05
        assert row["value"] <= row["high"] + 0.05
        assert row["seconds_per_clip"] > 0
    assert {each["reference"] for each in results["comparisons"]} == {"endofm-nano-4x96"}
    assert all(0 < each["p"] <= each["p_holm"] <= 1 for each in results["comparisons"])
    assert read_scores(finished / "results.json")["histogram"]["bleeding-folds"]["k-NN"]["value"] > 0.9
    with (finished / "results.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(values)
    assert (finished / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_overlap_stands_beside_the_number(finished: Path) -> None:
    table = (finished / "results.md").read_text(encoding="utf-8")
    # The packaged encoder was trained on stills of the same operations, without labels; controls were not.
    row = next(line for line in table.splitlines() if line.startswith("| surgery nearest |"))
    own, histogram, thumbnail = row.strip("| ").split(" | ")[1:]
    assert own.endswith(" seen")
    assert "seen" not in histogram + thumbnail
    assert not [line for line in table.splitlines() if line.startswith("| bleeding-folds k-NN |") and "seen" in line]
    assert "Seen in training: 183 stills of twelve laparoscopic operations" in table
    assert table.strip() in (finished / "stdout.txt").read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_elsewhere(finished: Path) -> None:
    page = (finished / "index.html").read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in page
    for text in ("http:", "https:", "<script", "<link", "@import", "url("):
        assert text not in page, text
    assert '<span class="mark">seen</span>' in page


def test_the_hub_reads_the_results(finished: Path) -> None:
    files = sorted(finished.glob("hub/*/.eval_results/*.yaml"))
    # Controls are nobody's model.
    assert [file.parts[-3:] for file in files] == [
        ("endofm-nano-4x96", ".eval_results", f"{name}.yaml") for name in ("bleeding-folds", "polyp-patch", "surgery")
    ]
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    entries = parse_eval_result_entries(yaml.safe_load(files[0].read_text(encoding="utf-8")))
    assert [entry.task_id for entry in entries] == ["k-nn-auroc", "linear-auroc"]
    own = [row for row in results["scores"] if (row["encoder"], row["set"]) == ("endofm-nano-4x96", "bleeding-folds")]
    assert [entry.value for entry in entries] == pytest.approx([row["value"] for row in own], abs=1e-6)
    assert entries[0].dataset_id == "bleeding-folds"


def test_changed_pictures_are_scored_again_and_no_others(finished: Path, tmp_path: Path) -> None:
    # In another folder: content counts, not the path.
    root = write_real_stills(tmp_path / "real")
    Image.new("RGB", (64, 48), (9, 200, 9)).save(next((root / "laparoscopy").glob("*.jpg")))
    done = subprocess.run(command(root, finished), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = [line.split()[0] for line in done.stdout.splitlines() if "(kept)" in line]
    assert kept == ["bleeding-folds"] * 3 + ["polyp-patch"] * 3
    # Embeddings of the picture that is gone are gone too.
    assert len(list((finished / "embeddings").glob("*.json"))) == 9


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--suite", "real-stills", "-o", "out"), "ENDOFM_REAL"),
        (("--suite", "real-stills", "-o", "out", "--root", ".", "--sets", "surgery"), "laparoscopy/*.jpg"),
        (("--suite", "real-stills", "-o", "out", "--root", ".", "--sets", "polyps"), "choose from polyp-crop"),
        (("--suite", "real-stills", "-o", "out", "--root", ".", "--controls", "magic"), "choose from untrained"),
        (("--suite", "nowhere", "-o", "out", "--root", "."), "the package has public, real-stills"),
        (("--suite", "real-stills"), "a folder with -o"),
    ],
)
def test_what_is_missing_is_named(
    words: tuple[str, ...],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENDOFM_REAL", raising=False)
    assert main(["bench", "--weights", "histogram", *words]) == 1
    assert text in capsys.readouterr().err


def test_suites_are_listed_with_what_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list", "--root", str(root)]) == 0
    listed = capsys.readouterr().out
    assert "surgery: Laparoscopy, the same operation, retrieval  [found]" in listed
    assert "polypdiag: PolypDiag, k-NN, linear, attentive, few-shot  [not there]" in listed
    assert "source: official_splits of github.com/simula/kvasir-capsule" in listed


def test_controls_come_with_every_comparison() -> None:
    assert with_controls(["a"], ALL_CONTROLS) == ["a", "untrained:a", "histogram", "thumbnail", "efficientnet-lite0"]
    # The user's own random weights are the control, and no name is scored twice.
    assert with_controls(["a", "untrained:a:3", "histogram"], ALL_CONTROLS)[:3] == ["a", "untrained:a:3", "histogram"]
    assert len(with_controls(["a", "untrained:a:3", "histogram"], ALL_CONTROLS)) == 5
    assert with_controls(["a"], []) == ["a"]
