"""A task that is registered from outside of the package does everything that the package's own tasks do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFM, EndoFMForDetection, EndoFMForSegmentation, ModelConfig, load_model, task_table
from endofm.cli.main import main
from endofm.config import EncoderConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, ConfigError
from endofm.task_table import get_task, register_task
from endofm.training.config_files import load_config
from endofm.training.config_schema import to_dict
from endofm.training.finetune.run import finetune
from helpers.labelled_videos import make_videos, settings
from helpers.paths import REPOSITORY
from helpers.toy_task import TASK, QualityConfig, QualityHeadConfig, QualityModel

ENCODER = EncoderConfig(img_size=32, num_frames=2, embed_dim=32, depth=1, num_heads=2)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the task for one test."""
    monkeypatch.setattr(task_table, "_TASKS", dict(task_table._TASKS))
    register_task(TASK)
    return


def model() -> QualityModel:
    preprocess = PreprocessConfig.whole_frame(32, num_frames=2)
    head = QualityHeadConfig(labels=("quality",))
    return QualityModel(ModelConfig(encoder=ENCODER, preprocess=preprocess, head=head)).eval()


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ConfigError, match="'quality' is registered already"):
        register_task(TASK)


def test_saved_models_come_back(tmp_path: Path) -> None:
    original = model()
    folder = original.save_pretrained(tmp_path)
    for again in (load_model(folder), QualityModel.from_pretrained(folder)):
        assert isinstance(again, QualityModel)
        clips = torch.randn(2, 3, 2, 32, 32)
        with torch.no_grad():
            assert torch.equal(again(clips), original(clips))
    card = (folder / "README.md").read_text()
    assert "labels: quality" in card
    assert "from helpers.toy_task import QualityModel" in card
    assert 'quality = model.predict("procedure.mp4")' in card


def test_info_describes_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(model().save_pretrained(tmp_path))]) == 0
    assert "quality" in capsys.readouterr().out


def test_videos_are_predicted_in_one_call_and_as_a_stream() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 40, 60, 3), np.uint8)
    toy = model()
    result = toy.predict(frames, fps=10, progress=False)
    assert result.seconds == pytest.approx([i / 10 for i in range(6)])
    assert result.provenance["video"]["num_frames"] == 6
    with toy.stream(frames, fps=10) as stream:
        assert tuple(score for _, score in stream) == result.scores


def test_weights_of_other_tasks_are_refused_with_the_class_that_loads_them(tmp_path: Path) -> None:
    toy = model().save_pretrained(tmp_path / "toy")
    with pytest.raises(CheckpointFormatError, match=r"this is a quality model; load it with QualityModel"):
        EndoFMForSegmentation.from_pretrained(toy)
    encoder = EndoFM(ModelConfig(encoder=ENCODER)).save_pretrained(tmp_path / "encoder")
    with pytest.raises(CheckpointFormatError, match=r"QualityModel.from_backbone, or `endofm finetune quality`"):
        QualityModel.from_pretrained(encoder)
    # The encoder inside can be taken out again.
    assert torch.equal(EndoFM.from_pretrained(toy).cls_token, QualityModel.from_pretrained(toy).backbone.cls_token)


def test_a_head_of_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a configuration with a head of DetectionHeadConfig"):
        EndoFMForDetection.from_backbone(
            EndoFM(ModelConfig(encoder=ENCODER)),
            QualityHeadConfig(labels=("quality",)),  # type: ignore[arg-type]
        )


def test_it_is_trained_by_the_function_of_all_tasks(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos")
    config = load_config(QualityConfig, to_dict(settings(videos, "run.epochs=1")), ())
    result = finetune(get_task("quality").load("finetuning"), config, tmp_path / "run", progress=False)
    assert result.finished
    trained = load_model(tmp_path / "run" / "export")
    assert isinstance(trained, QualityModel)
    assert trained.config.trained


def test_a_task_of_the_package_is_named_in_few_existing_files() -> None:
    """``docs/extending.md`` lists the files that name a task; a new task edits these and no other."""
    page = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    table = page.split("## Add a task")[1].split("The new files are")[0]
    listed = set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE))
    assert len(listed) == 6
    name = "EndoFMForSegmentation"
    package = REPOSITORY / "endofm"
    found = set()
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).parts
        # The files of the task: its folder, its commands, its recipe, its evaluation.
        if "segment" in "/".join(parts):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        names |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        if any(name == text or text.endswith(f":{name}") for text in names):
            found.add(f"endofm/{'/'.join(parts)}")
    assert {"endofm/task_table.py", "endofm/__init__.py"} <= found <= listed
