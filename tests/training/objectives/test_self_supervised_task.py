"""A warm start from the command line: distilled on drawn stills, continued by Endo-FM's objective and by VCL."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from endofm import EndoFM
from endofm.cli.main import main
from helpers.made_pictures import TEACHER, write_pictures, write_teacher

RUN = "run: {batch_size: 8, num_workers: 0, accelerator: cpu, log_every: 1, checkpoint_every_steps: 1, keep: 9}\n"
DISTILL = """
objective:
  name: distill
  teacher_sizes: [64]
  picture_size: 64
  warmup_epochs: 0
  views: {frames: [1, 2]}
"""
ENCODER = "model: {encoder: {img_size: 32, num_frames: 4, embed_dim: 24, depth: 1, num_heads: 2}}\n"
CAMERA = "data: {camera: {num_frames: 4, size: 40}}\n"
OBJECTIVES = {
    "endofm-fixed": """
objective:
  name: endofm-fixed
  views: {global_frames: [2, 2], local_frames: [2], global_size: 32, local_size: 16, global_margin: 0, local_parts: 2}
  head: {out_dim: 32, hidden_dim: 24, bottleneck_dim: 16}
  warmup_epochs: 0
  anchor_weight: 1
""",
    "vcl": """
objective:
  name: vcl
  concepts: 8
  hidden_dim: 12
  contrast_dim: 8
  clip_frames: 2
  crop_size: 32
  queue_size: 8
  top_concepts: 4
  warmup_epochs: 0
  anchor_weight: 1
""",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with stills and an encoder that was distilled on them."""
    root = tmp_path_factory.mktemp("warm")
    clips = write_pictures(root / "pictures", 40)
    weights = write_teacher(root / "teacher.safetensors").weights
    (root / "distill.yaml").write_text(DISTILL + ENCODER + RUN, encoding="utf-8")
    settings = [f"data.clips={clips}", f"objective.cache={root / 'maps'}", "run.epochs=4"]
    settings += ["objective.learning_rate=0.1", f"objective.teachers=[{{model: {TEACHER}, weights: {weights}}}]"]
    assert main(["pretrain", str(root / "distill.yaml"), "--out", str(root / "warm"), *settings]) == 0
    return root


def logged(run: Path) -> list[dict[str, str]]:
    with (run / "logs/train.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_continues_a_warm_start_and_resumes_after_a_kill(root: Path, name: str) -> None:
    (root / f"{name}.yaml").write_text(OBJECTIVES[name] + CAMERA + RUN, encoding="utf-8")
    settings = [f"data.stills=[{root / 'pictures'}]", f"init.source={root / 'warm/export'}", "run.epochs=3"]

    def command(run: Path) -> list[str]:
        # Every part in a process of its own: sums may differ between a new process and one with a history.
        config = str(root / f"{name}.yaml")
        return [sys.executable, "-m", "endofm", "pretrain", config, "--out", str(run), *settings]

    calm, killed = root / f"{name}-calm", root / f"{name}-killed"
    subprocess.run(command(calm), check=True, capture_output=True)
    process = subprocess.Popen(command(killed), stderr=subprocess.DEVNULL, start_new_session=True)
    # Of 15 steps: in the second epoch, amid the collection of views for twin retrieval.
    while not (killed / "checkpoints/step-00000007.pt").exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    subprocess.run(command(killed), check=True, capture_output=True)
    one, other = EndoFM.from_pretrained(calm / "export"), EndoFM.from_pretrained(killed / "export")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    rows = logged(killed)
    assert [row["twin_retrieval"] for row in rows] == [row["twin_retrieval"] for row in logged(calm)]
    # Views of 40 clips are compared, so every fifth step has a value.
    assert [bool(row["twin_retrieval"]) for row in rows] == [step % 5 == 4 for step in range(15)]
    # The copy that the anchor holds is the warm start, and the encoder has left it.
    warm = EndoFM.from_pretrained(root / "warm/export").state_dict()
    checkpoint = torch.load(killed / "checkpoints/step-00000015.pt", weights_only=True)
    assert all(torch.equal(value, checkpoint["helpers"]["anchor"][key]) for key, value in warm.items())
    assert float(rows[-1]["anchor"]) > 0
    assert "started from `export` (sha256" in (killed / "export/README.md").read_text(encoding="utf-8")


def test_the_anchor_of_vcl_holds_the_class_tokens(root: Path) -> None:
    (root / "held.yaml").write_text(OBJECTIVES["vcl"] + CAMERA + RUN, encoding="utf-8")
    settings = [f"data.stills=[{root / 'pictures'}]", f"init.source={root / 'warm/export'}", "run.epochs=4"]
    settings += ["objective.learning_rate=0.1", "objective.drop_path_rate=0"]
    clip = torch.randn(16, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    start = EndoFM.from_pretrained(root / "warm/export").eval()(clip)
    moved = []
    for weight in (0, 20):
        out = root / f"held-{weight}"
        main(["pretrain", str(root / "held.yaml"), "--out", str(out), *settings, f"objective.anchor_weight={weight}"])
        assert ("anchor" in logged(out)[0]) == bool(weight)
        token = EndoFM.from_pretrained(out / "export").eval()(clip)
        moved.append(1 - F.cosine_similarity(token, start).mean().item())
    assert moved[1] < moved[0] / 2
