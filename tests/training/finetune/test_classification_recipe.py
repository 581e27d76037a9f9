"""Fine-tuning classifiers: from lists of videos to a model that loads in one line, also when killed on the way."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFMForVideoClassification
from endofm.cli.main import main
from endofm.data.loader import SkippedClipWarning
from endofm.errors import ConfigError, InputError
from endofm.list_table import ListWarning
from endofm.tasks.features.model import EndoFM
from endofm.training.config_files import to_yaml
from endofm.training.finetune.classification_recipe import RECIPE, build_classifier, read_subsets
from endofm.training.finetune.run import finetune
from endofm.training.transfer.adapter_file import load_adapter
from helpers.labelled_videos import ENCODER, settings
from helpers.made_stills import write_classes


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return EndoFMForVideoClassification.from_pretrained(folder / "export").state_dict()


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    result = finetune(RECIPE, settings(videos), folder, progress=False)
    assert (result.finished, result.exit_status) == (True, 0)
    return folder


def test_what_comes_out_loads_in_one_line_and_knows_its_labels(run: Path) -> None:
    model = EndoFMForVideoClassification.from_pretrained(run / "export")
    assert model.labels == ("normal", "polyp")
    assert model.config.trained
    assert model.config.name == "spots"
    assert model.config.preprocess.window_seconds == 0.8
    card = (run / "export" / "README.md").read_text()
    for fact in (
        "labels: normal, polyp",
        "Fine-tuned on the labels of `train.csv`",
        "transfer `full`",
        "random weights",
    ):
        assert fact in card
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["settings"]["set"] == "test"
    assert report["items"] == 4
    assert {"f1", "auroc", "balanced_accuracy", "calibration_error"} <= set(report["metrics"])
    with (run / "report" / "predictions.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == [f"videos/{n}.mp4" for n in range(8, 12)]


def test_it_has_learnt_the_spots(videos: Path, tmp_path: Path) -> None:
    config = settings(videos, "run.epochs=10")
    finetune(RECIPE, config, tmp_path / "run", progress=False)
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["metrics"]["auroc"]["value"] > 0.9


def test_killed_and_resumed_nothing_changes_not_even_the_backbone(videos: Path, tmp_path: Path) -> None:
    """The original forgets its backbone here: it starts again from the pre-trained one."""
    # With two processes; the recipes of the other tasks are killed with one.
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(settings(videos)))
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    command = [sys.executable, *launcher, "-m", "endofm.cli.main", "finetune"]
    command += ["classification", str(file), "run.batch_size=2"]
    # In a process of its own as well: sums may differ between a new process and one with a history.
    whole = tmp_path / "whole"
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, "--out", str(killed)], stderr=subprocess.DEVNULL, start_new_session=True)
    last = killed / "checkpoints" / "last"
    deadline = time.monotonic() + 240
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, "the run was over before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "export").exists()
    done = subprocess.run([*command, "--out", str(killed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = weights(whole), weights(killed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    fresh = build_classifier(settings(videos), ("normal", "polyp")).state_dict()
    moved = [name for name in first if name.startswith("backbone.blocks") and not torch.equal(first[name], fresh[name])]
    assert moved
    reports = [json.loads((folder / "report" / "report.json").read_text()) for folder in (whole, killed)]
    assert reports[0] == reports[1]


@pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")
@pytest.mark.parametrize("word", ["linear", "attentive", "st-adapter", "lora"])
def test_every_transfer_keeps_the_encoder_that_it_freezes(word: str, videos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_classifier(settings(videos), ("normal", "polyp"))
    encoder = EndoFM.from_pretrained(model.save_pretrained(tmp_path / "start"))
    config = settings(
        videos, f"transfer={word}", "run.epochs=1", model={"source": str(tmp_path / "start"), "window_seconds": 0.8}
    )
    finetune(RECIPE, config, tmp_path / "run", progress=False)
    trained = EndoFMForVideoClassification.from_pretrained(tmp_path / "run" / "export")
    own = encoder.state_dict()
    kept = all(torch.equal(t, trained.backbone.state_dict()[name]) for name, t in own.items())
    assert kept is (word != "lora")  # whose additions were merged
    pixels = torch.randn(1, 3, 2, 32, 32)
    adapted = load_adapter(tmp_path / "run" / "export", encoder)
    torch.testing.assert_close(adapted(pixels), trained(pixels), atol=1e-5, rtol=1e-5)
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["settings"]["transfer"]["name"] == word
    assert report["settings"]["parameters_learning"] < sum(p.numel() for p in model.parameters())


def test_several_seeds_are_averaged_and_go_on(videos: Path, tmp_path: Path) -> None:
    config = settings(videos, "seeds=[0, 3]", "run.epochs=1", "transfer=linear")
    finetune(RECIPE, config, tmp_path, progress=False)
    found = json.loads((tmp_path / "seeds.json").read_text())
    assert found["seeds"] == [0, 3]
    values = found["metrics"]["balanced_accuracy"]["values"]
    assert found["metrics"]["balanced_accuracy"]["mean"] == pytest.approx(np.mean(values))
    written = (tmp_path / "seed-0" / "export" / "model.safetensors").stat().st_mtime_ns
    finetune(RECIPE, config, tmp_path, progress=False)
    assert (tmp_path / "seed-0" / "export" / "model.safetensors").stat().st_mtime_ns == written


def test_several_labels_may_hold(videos: Path, tmp_path: Path) -> None:
    kinds = ("none", "polyp", "blood", "polyp+blood")
    lines = [f"videos/{n}.mp4,{kinds[n % 4]}" for n in range(12)]
    for name, part in (("train.csv", lines[:8]), ("test.csv", lines[8:])):
        (tmp_path / name).write_text("\n".join(part))
    data = {"train": [str(tmp_path / "train.csv")], "test": [str(tmp_path / "test.csv")], "root": str(videos)}
    data |= {"multi_label": True, "class_weights": "balanced"}  # type: ignore[dict-item]
    config = settings(videos, "run.epochs=1", data=data)
    finetune(RECIPE, config, tmp_path / "run", progress=False)
    model = EndoFMForVideoClassification.from_pretrained(tmp_path / "run" / "export")
    assert model.labels == ("blood", "polyp")
    assert model.head_config.multi_label
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert np.array(report["confusion_matrix"]).shape == (2, 2, 2)


def test_the_command_says_what_came_out_and_what_is_wrong(videos: Path, tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "endofm.cli.main", "finetune", "classification", *arguments]
        return subprocess.run(whole, capture_output=True, text=True, check=False, cwd=tmp_path)

    (tmp_path / "mine.yaml").write_text(to_yaml(settings(videos, "run.epochs=1", "transfer=linear")))
    done = command("mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "balanced_accuracy" in done.stdout
    assert "medical advice" in done.stdout
    assert (tmp_path / "runs" / "mine" / "export" / "adapter.safetensors").is_file()
    wrong = command("mine.yaml", "optimizer.learning_rat=1")
    assert wrong.returncode == 1
    assert "did you mean 'learning_rate'" in wrong.stderr
    assert "nano, polypdiag, sound" in command("nonsense").stderr


def test_a_model_is_scored_on_further_videos(run: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "classification", str(videos / "test.csv"), "--weights", str(run / "export")]
    command += ["--num-workers", "0"]
    several = ["--views", "2", "--crops", "3", "--precision", "bfloat16"]
    assert main([*command, *several, "--resamples", "0", "-o", str(run / "again")]) == 0
    assert "4 items" in capsys.readouterr().out
    assert json.loads((run / "again" / "report.json").read_text())["settings"]["precision"] == "bfloat16"
    assert main([*command, "--resamples", "0", "-o", str(run / "once")]) == 0
    first, second = (json.loads((run / name / "report.json").read_text()) for name in ("report", "once"))
    values = [{name: row["value"] for name, row in report["metrics"].items()} for report in (first, second)]
    assert values[0] == values[1]  # the same views as in the run's own report
    (run / "other.csv").write_text("videos/0.mp4,cancer\n")
    assert main([*command[:2], str(run / "other.csv"), *command[3:], "--root", str(videos)]) == 1
    assert "not among the classes" in capsys.readouterr().err


def test_validation_is_held_out_by_video_and_both_classes_are_on_both_sides(videos: Path) -> None:
    config = settings(videos, "run.seed=1")
    subsets = read_subsets(config)
    groups = [{t.group(i) for i in range(len(t))} for t in (subsets.train, subsets.validation)]
    assert not groups[0] & groups[1]
    assert set(subsets.train.label) == set(subsets.validation.label) == {0, 1}
    assert len(subsets.train) + len(subsets.validation) == 8
    assert list(read_subsets(config).validation.id) == list(subsets.validation.id)


def test_a_video_on_two_sides_is_refused(videos: Path) -> None:
    train = str(videos / "train.csv")
    with pytest.raises(InputError, match=r"both in the training set and in the test set \(video videos/\d\.mp4"):
        read_subsets(settings(videos, f"data.test={train}"))
    allowed = read_subsets(settings(videos, f"data.test={train}", "data.allow_overlap=true"))
    assert "say little about new ones" in allowed.notes[0]
    published = read_subsets(settings(videos, "data.select_on_test=true"))
    assert published.validation is published.test
    assert "too good" in published.notes[0]


def test_a_file_on_two_sides_is_refused_whatever_its_path(videos: Path, tmp_path: Path) -> None:
    first, label = (videos / "train.csv").read_text().splitlines()[0].split(",")
    (tmp_path / "link.mp4").symlink_to(videos / first)
    (tmp_path / "copy.mp4").write_bytes((videos / first).read_bytes())
    other = (videos / "test.csv").read_text().splitlines()[0].split(",")
    for name in (f"./{first}", str(videos / first), str(tmp_path / "link.mp4"), str(tmp_path / "copy.mp4")):
        test = tmp_path / "test.csv"
        test.write_text(f"{videos / other[0]},{other[1]}\n{videos / name},{label}\n")
        with pytest.raises(InputError, match=r"1 files or copies of them are both in the training set and in the test"):
            read_subsets(settings(videos, f"data.test={test}"))
    allowed = read_subsets(settings(videos, f"data.test={test}", "data.allow_overlap=true"))
    assert "say little about new ones" in allowed.notes[0]


def test_copies_in_one_list_are_held_out_together(videos: Path, tmp_path: Path) -> None:
    lines = [line.split(",") for line in (videos / "train.csv").read_text().splitlines()]
    rows = []
    for number, (path, label) in enumerate(lines[:4]):
        for copy in "ab":
            (tmp_path / f"{copy}{number}.mp4").write_bytes((videos / path).read_bytes())
            rows.append(f"{copy}{number}.mp4,{label}\n")
    (tmp_path / "train.csv").write_text("".join(rows))
    for seed in range(4):
        options = (f"data.train={tmp_path / 'train.csv'}", "data.validation_fraction=0.5", f"run.seed={seed}")
        subsets = read_subsets(settings(videos, *options))
        sides = [{Path(path).name[1:] for path in table.path} for table in (subsets.train, subsets.validation)]
        assert not sides[0] & sides[1]


def test_missing_files_stop_a_training_unless_asked_otherwise(videos: Path, tmp_path: Path) -> None:
    text = (videos / "train.csv").read_text().replace("videos/", f"{videos}/videos/")
    (tmp_path / "train.csv").write_text(text + "gone.mp4,typo\n")
    config = settings(videos, f"data.train={tmp_path / 'train.csv'}")
    with pytest.raises(InputError, match=r"1 of 9 clips of .*train\.csv do not exist: gone\.mp4"):
        finetune(RECIPE, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.warns(ListWarning):
        subsets = read_subsets(settings(videos, f"data.train={tmp_path / 'train.csv'}", "data.allow_missing=true"))
    assert subsets.train.classes == ("normal", "polyp")
    assert subsets.left_out == ("1 of 9 clips of train.csv do not exist and were left out: gone.mp4.",)


def test_reports_card_and_run_say_what_was_left_out(videos: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        text = (videos / f"{name}.csv").read_text().replace("videos/", f"{videos}/videos/")
        (tmp_path / f"{name}.csv").write_text(f"{text}{name}.mp4,polyp\n{name}-gone.mp4,normal\n")
        (tmp_path / f"{name}.mp4").write_bytes(f"no video for {name}".encode())
    lists = [f"data.{name}={tmp_path / f'{name}.csv'}" for name in ("train", "test")]
    config = settings(videos, *lists, "data.allow_missing=true", "run.epochs=1", "run.monitor=null")
    with pytest.warns((ListWarning, SkippedClipWarning)):
        finetune(RECIPE, config, tmp_path / "run", progress=False)
    told = [
        "1 of 10 clips of train.csv do not exist and were left out: train-gone.mp4.",
        "1 of 6 clips of test.csv do not exist and were left out: test-gone.mp4.",
    ]
    notes = json.loads((tmp_path / "run" / "report" / "report.json").read_text())["notes"]
    assert {*told, "1 of 5 test clips could not be decoded and were left out."} <= set(notes)
    unread = [note for note in notes if note.endswith("could not be decoded and were left out.")]
    assert len(unread) == 2, "train.mp4 is trained on or held out"
    assert set(json.loads((tmp_path / "run" / "run.json").read_text())["left_out"]) >= set(told)
    card = (tmp_path / "run" / "export" / "README.md").read_text()
    assert all(note in card for note in told)
    assert f"{next(note for note in unread if 'test' not in note)}" in card


def test_starts(videos: Path) -> None:
    frames = build_classifier(settings(videos, "model.frames_only=true"), ("normal", "polyp"))
    assert frames.config.encoder.attention_type == "space_only"
    with pytest.raises(ConfigError, match="not several"):
        settings(videos, "model.source=x")
    assert ENCODER["depth"] == len(frames.backbone.blocks)


def test_stills_are_clips_of_the_virtual_camera(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "stills")
    config = settings(
        tmp_path, f"data.train=[{root}]", "data.test=[]", "data.camera={num_frames: 4, size: 48}", "run.epochs=1"
    )
    subsets = read_subsets(config)
    assert [len(part or ()) for part in (subsets.train, subsets.validation)] == [4, 2]
    clip = RECIPE.training_data(config, subsets.train, build_classifier(config, ("left", "right"))).read(0)
    assert clip.frames.shape == (3, 2, 32, 32)  # type: ignore[union-attr]
    assert not torch.equal(clip.frames[:, 0], clip.frames[:, 1])  # type: ignore[union-attr]
    assert finetune(RECIPE, config, tmp_path / "run", progress=False).finished
    assert EndoFMForVideoClassification.from_pretrained(tmp_path / "run/export").labels == ("left", "right")
