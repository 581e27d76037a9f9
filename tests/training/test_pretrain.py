"""``endofm pretrain`` from clips to a loadable model, on moving squares of 32 pixels."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFM, EndoFMForVideoClassification
from endofm.cli.main import main
from endofm.data.manifest import ClipRow, write_manifest
from endofm.errors import ConfigError, EndoFMError, InputError
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.training.config_files import load_config
from endofm.training.configs import config_names, find_config
from endofm.training.pretrain import pretrain
from endofm.training.pretrain_config import PretrainConfig
from endofm.video.writer import write_video
from helpers.made_stills import write_masked

CONFIG = """
objective:
  name: endofm-fixed
  views: {global_frames: [2, 4], local_frames: [2], global_size: 32, local_size: 16, global_margin: 1, local_parts: 4}
  head: {out_dim: 32, hidden_dim: 24, bottleneck_dim: 16}
  warmup_epochs: 1
  learning_rate: 0.05
model:
  name: squares
  encoder: {img_size: 32, num_frames: 4, embed_dim: 24, depth: 1, num_heads: 2}
run: {epochs: 2, batch_size: 4, num_workers: 0, accelerator: cpu, log_every: 1}
"""

ONE_STEP = ("run.max_steps=1", "objective.warmup_epochs=0", "objective.teacher_momentum=1")
"""Settings of a run whose teacher comes out as it went in."""


def write_clips(folder: Path, count: int, *, label: bool = True, seed: int = 0) -> Path:
    """Write clips of noise, of which every other one has a bright square that moves; equal seeds give equal files."""
    folder.mkdir()
    rows = []
    for number in range(count):
        frames = np.random.default_rng((seed, number)).integers(60, 110, (8, 32, 40, 3), dtype=np.uint8)
        if number % 2:
            for time_, frame in enumerate(frames):
                frame[8:20, 4 + time_ * 2 : 16 + time_ * 2] = (230, 120, 120)
        write_video(folder / f"{number:02}.mp4", frames, fps=10)
        rows.append(ClipRow(path=f"{number:02}.mp4", label=str(number % 2) if label else "", patient=f"p{number // 3}"))
    write_manifest(folder / "manifest.csv", rows)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a configuration, clips to train on, and clips to watch."""
    root = tmp_path_factory.mktemp("pretrain")
    (root / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    write_clips(root / "clips", 9)
    write_clips(root / "watched", 7, seed=1)
    return root


def config(folder: Path, *overrides: str) -> PretrainConfig:
    return load_config(PretrainConfig, folder / "tiny.yaml", [f"data.clips={folder / 'clips'}", *overrides])


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    run = folder / "run"
    watch = f"knn.clips={folder / 'watched'}"
    settings = [f"data.clips={folder / 'clips'}", watch, "knn.neighbours=3"]
    # Settings may stand before and after options.
    assert main(["pretrain", str(folder / "tiny.yaml"), settings[0], "--out", str(run), *settings[1:]]) == 0
    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_clips_become_a_model(trained: Path) -> None:
    model = EndoFM.from_pretrained(trained / "export")
    assert model.config.name == "squares"
    assert model.config.trained
    features = model.extract_features(trained.parent / "clips/01.mp4", progress=False)
    assert features.embeddings.shape == (1, 24)
    checkpoint = torch.load(trained / "checkpoints/step-00000004.pt", weights_only=True)
    teacher = {
        name.removeprefix("backbone."): value
        for name, value in checkpoint["helpers"]["teacher"].items()
        if name.startswith("backbone.")
    }
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in teacher.items())


def test_the_card_documents_the_run(trained: Path) -> None:
    card = (trained / "export/README.md").read_text(encoding="utf-8")
    for text in (
        "- clips (9 clips)",
        "objective `endofm-fixed`",
        "started from random weights",
        "4 of 4 steps of 4 clips (16 clips seen",
        "## What it is not",
        "macro F1",
    ):
        assert text in card
    assert str(trained.parent) not in card
    recipe = load_config(PretrainConfig, trained / "export/training.yaml")
    assert recipe == load_config(PretrainConfig, trained / "config.yaml")


def test_nearest_neighbours_are_evaluated(trained: Path) -> None:
    found = rows(trained / "logs/validation.csv")
    assert [row["epoch"] for row in found] == ["0", "1"]
    for row in found:
        assert 0 <= float(row["knn_f1"]) <= 1
        assert float(row["knn_majority"]) == pytest.approx(4 / 7)
        assert float(row["feature_spread"]) > 0
    assert (trained / "run.png").read_bytes().startswith(b"\x89PNG")


def test_vcl_is_selected_by_name(folder: Path, tmp_path: Path) -> None:
    objective = "{name: vcl, concepts: 8, hidden_dim: 12, contrast_dim: 8, clip_frames: 2, crop_size: 32}"
    extra = ["objective.queue_size=8", "objective.top_concepts=4", "objective.warmup_epochs=0"]
    result = pretrain(config(folder, f"objective={objective}", *extra), tmp_path / "vcl", progress=False)
    assert result.finished
    assert "fidelity_v" in rows(tmp_path / "vcl/logs/train.csv")[0]
    assert EndoFM.from_pretrained(tmp_path / "vcl/export").embed_dim == 24


def test_a_run_begins_from_a_model(folder: Path, trained: Path, tmp_path: Path) -> None:
    settings = config(folder, f"init.source={trained / 'export'}", "model.encoder=null", *ONE_STEP)
    pretrain(settings, tmp_path / "more", progress=False)
    before, after = EndoFM.from_pretrained(trained / "export"), EndoFM.from_pretrained(tmp_path / "more/export")
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    assert "started from `export` (sha256" in (tmp_path / "more/export/README.md").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"model\.encoder differs from the architecture of init\.source"):
        pretrain(config(folder, f"init.source={trained / 'export'}", "model.encoder.depth=2"), tmp_path / "no")


def test_a_run_begins_from_the_encoder_of_a_task_model(folder: Path, trained: Path, tmp_path: Path) -> None:
    encoder = EndoFM.from_pretrained(trained / "export")
    head = ClassificationHeadConfig(labels=("background", "square"))
    classifier = EndoFMForVideoClassification(replace(encoder.config, head=head))
    classifier.backbone.load_state_dict(encoder.state_dict())
    classifier.save_pretrained(tmp_path / "classifier")
    pretrain(
        config(folder, f"init.source={tmp_path / 'classifier'}", "model.encoder=null", *ONE_STEP), tmp_path / "more"
    )
    after = EndoFM.from_pretrained(tmp_path / "more/export").state_dict()
    assert all(torch.equal(value, after[name]) for name, value in encoder.state_dict().items())


def test_a_run_begins_from_a_training_checkpoint(folder: Path, trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "checkpoints/step-00000004.pt", weights_only=True)
    center = content["helpers"]["loss"]["center"]
    original = {
        "student": {f"module.{name}": value for name, value in content["network"].items()},
        "teacher": content["helpers"]["teacher"],
        "dino_loss": {"center": center},
        "epoch": 2,
    }
    torch.save(original, tmp_path / "original.pth")
    init = [f"init.source={tmp_path / 'original.pth'}", "init.training_state=true", *ONE_STEP]
    with pytest.raises(EndoFMError):
        pretrain(config(folder, *init, "objective.head.out_dim=16"), tmp_path / "other", progress=False)
    pretrain(config(folder, *init, "model.encoder.num_heads=1"), tmp_path / "run", progress=False)
    gone_on = torch.load(tmp_path / "run/checkpoints/step-00000001.pt", weights_only=True)
    for name in ("head.last_layer.weight_v", "backbone.norm.weight"):
        assert torch.equal(gone_on["helpers"]["teacher"][name], content["helpers"]["teacher"][name])
    assert not torch.equal(gone_on["helpers"]["loss"]["center"], center)
    assert torch.allclose(gone_on["helpers"]["loss"]["center"], center, atol=0.1 * (center.abs().max().item() + 1))
    card = (tmp_path / "run/export/README.md").read_text(encoding="utf-8")
    assert "with its projection head and centre" in card


def test_recomputed_blocks_change_nothing_but_memory(folder: Path, tmp_path: Path) -> None:
    found = []
    for name in ("kept", "recomputed"):
        flag = f"run.grad_checkpointing={str(name == 'recomputed').lower()}"
        pretrain(config(folder, flag, "objective.drop_path_rate=0"), tmp_path / name, progress=False)
        found.append(EndoFM.from_pretrained(tmp_path / name / "export").state_dict())
    assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())


def test_two_processes_share_model_data_and_evaluation(folder: Path, trained: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "endofm"),
        *("pretrain", str(folder / "tiny.yaml"), "--out", str(tmp_path / "run"), f"data.clips={folder / 'clips'}"),
        *(f"knn.clips={folder / 'watched'}", "knn.neighbours=3", "run.strategy=fsdp", "objective.drop_path_rate=0"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    found = rows(tmp_path / "run/logs/validation.csv")
    assert [row["epoch"] for row in found] == ["0", "1"]
    assert float(found[0]["knn_majority"]) == pytest.approx(4 / 7)
    assert EndoFM.from_pretrained(tmp_path / "run/export").embed_dim == 24


def test_damaged_clips_are_skipped_and_counted(tmp_path: Path, folder: Path) -> None:
    clips = write_clips(tmp_path / "clips", 6)
    (clips / "03.mp4").write_bytes(b"not a video")
    settings = config(folder, f"data.clips={clips}", "run.batch_size=1", "run.epochs=1")
    with pytest.warns(UserWarning, match=r"03\.mp4 was left out"):
        result = pretrain(settings, tmp_path / "run", progress=False)
    assert (result.step, result.finished) == (6, True)
    card = (tmp_path / "run/export/README.md").read_text(encoding="utf-8")
    assert "1 of the clips could not be decoded" in card


def test_stills_are_clips_of_the_virtual_camera(tmp_path: Path, folder: Path) -> None:
    stills = write_masked(tmp_path / "stills")
    (stills / "splits.csv").write_text("image,split\n1.png,val\n", encoding="utf-8")
    settings = ["run.epochs=1", "run.batch_size=7", f"data.stills={stills}", "data.camera={num_frames: 8, size: 32}"]
    result = pretrain(config(folder, *settings), tmp_path / "run", progress=False)
    assert result.step == 2  # nine clips and five stills
    card = (tmp_path / "run/export/README.md").read_text(encoding="utf-8")
    assert "- clips (9 clips)\n- stills: stills, moved by the virtual camera (5 clips)" in card
    alone = pretrain(config(folder, "data.clips=[]", *settings, "run.batch_size=5"), tmp_path / "alone", progress=False)
    assert alone.step == 1


@pytest.mark.long
def test_killed_and_started_again(folder: Path, tmp_path: Path) -> None:
    """Every part in a process of its own, as sums may differ between a new process and one with a history."""
    settings = ["run.epochs=6", "run.checkpoint_every_steps=1", "run.num_workers=1"]
    command = [sys.executable, "-m", "endofm", "pretrain", str(folder / "tiny.yaml"), f"data.clips={folder / 'clips'}"]
    command += [*settings, "--out"]
    subprocess.run([*command, str(tmp_path / "calm")], check=True, capture_output=True)
    again = [*command, str(tmp_path / "run")]
    process = subprocess.Popen(again, stderr=subprocess.DEVNULL, start_new_session=True)
    while not (tmp_path / "run/checkpoints/step-00000003.pt").exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "run/export").exists()
    done = subprocess.run(again, check=True, capture_output=True, text=True)
    assert "of 12 steps done" in done.stderr
    one, two = EndoFM.from_pretrained(tmp_path / "calm/export"), EndoFM.from_pretrained(tmp_path / "run/export")
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_terminated_job_saves_and_resumes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM to all processes, workers among them, as clusters send it, is no worse than one to the main process."""
    settings = ["run.epochs=12", "run.num_workers=2"]
    command = [
        *(sys.executable, "-m", "endofm", "pretrain", str(folder / "tiny.yaml"), "--out", str(tmp_path / "run")),
        *(f"data.clips={folder / 'clips'}", *settings),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (tmp_path / "run/checkpoints/step-00000002.pt").exists() and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert "Stopped by SIGTERM after step" in errors
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):  # no worker is left behind
        os.killpg(process.pid, 0)
    newest = int((tmp_path / "run/checkpoints/last").read_text(encoding="utf-8").strip()[5:-3])
    assert f"after step {newest}," in errors
    assert newest < 24
    assert pretrain(config(folder, *settings), tmp_path / "run", progress=False).step == 24
    assert f"({newest} of 24 steps done)" in capsys.readouterr().err
    assert EndoFM.from_pretrained(tmp_path / "run/export").embed_dim == 24


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["data.clips=[]"], ConfigError, r"name the clips to train on: data\.clips=FOLDER"),
        (["data.clips=nowhere"], InputError, r"nowhere: there is no such manifest, list or folder"),
        (
            ["objective=dino"],
            ConfigError,
            r"objective\.name: must be one of endofm, endofm-fixed, vcl, distill, got 'dino'",
        ),
        (["objective.views.local_size=20"], ConfigError, r"local_size 20 is not a multiple of the patch size 16"),
        (["run.epochs=1", "objective.warmup_epochs=2"], ConfigError, "warmup_epochs 2 is longer than the run"),
        (["knn.clips={clips}"], InputError, r"9 of these clips are training clips"),
        (["knn.clips={copies}"], InputError, r"4 of these clips are training clips or copies"),
        (["knn.clips={unlabelled}"], InputError, "need labelled clips of at least two classes"),
        (["init.training_state=true"], ConfigError, "name its file in source"),
        (["init.source=no.pth"], EndoFMError, r"no\.pth: there is no such file"),
        (
            ["init.source=endofm-tiny-8x224-random", "model.encoder=null", "init.training_state=true"],
            ConfigError,
            "file",
        ),
        (["run.batch_size=16"], InputError, "too few for a batch of 16"),
    ],
)
def test_mistakes_are_named(
    folder: Path, tmp_path: Path, overrides: list[str], error: type[Exception], message: str
) -> None:
    if not (folder / "unlabelled").exists():
        write_clips(folder / "unlabelled", 2, label=False)
        write_clips(folder / "copies", 4)
    places = {name: folder / name for name in ("clips", "unlabelled", "copies")}
    with pytest.raises(error, match=message):
        pretrain(config(folder, *(text.format(**places) if "{" in text else text for text in overrides)), tmp_path)


def test_the_command_reports_mistakes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "nona"]) == 1
    assert "'nona': there is no such configuration file; for pre-training the package has" in capsys.readouterr().err
    assert main(["pretrain"]) == 1
    assert main(["pretrain", str(folder / "tiny.yaml"), "run.epoch=3"]) == 1
    assert "command line: run.epoch: there is no such setting; did you mean 'epochs'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["pretrain", "nano", "--outt", "x"])


@pytest.mark.parametrize("name", config_names())
def test_the_configurations_of_the_package_are_valid(name: str) -> None:
    load_config(PretrainConfig, find_config(name), ["data.clips=x"])
