"""A published training checkpoint starts a run with both networks, both heads and the centre."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import CheckpointFormatError, StateDictError
from endofm.hub.checkpoint_file import read_checkpoint
from endofm.models.encoder import VideoTransformer
from endofm.training.objectives.endofm.endofm_config import EndoFMPublishedConfig
from endofm.training.objectives.endofm.endofm_task import EndoFMTask, build
from endofm.training.objectives.endofm.published_state import _unparametrized
from endofm.training.objectives.pretraining_task import Start
from helpers.endofm_run import HEAD, MODEL, VIEWS
from helpers.published_names import to_parametrized

CONFIG = EndoFMPublishedConfig(views=VIEWS, head=HEAD)


def random_networks() -> tuple[dict[str, Any], dict[str, Any]]:
    task = EndoFMTask(CONFIG, VideoTransformer(MODEL.encoder))
    return tuple({n: torch.rand_like(t) for n, t in task.network.state_dict().items()} for _ in range(2))  # type: ignore


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    student, teacher = random_networks()
    content = {
        "student": {f"module.{name}": tensor for name, tensor in student.items()},
        "teacher": teacher,
        "motion_student": 0,
        "motion_teacher": 0,
        "optimizer": torch.optim.AdamW([torch.zeros(1)]).state_dict(),
        "epoch": 30,
        "args": argparse.Namespace(arch="vit_base"),
        "dino_loss": {"center": torch.rand(1, HEAD.out_dim)},
        "fp16_scaler": {"scale": 1.0},
    }
    torch.save(content, tmp_path / "endo_fm.pth")
    return tmp_path / "endo_fm.pth", content


def started(content: dict[str, Any]) -> EndoFMTask:
    task = build(CONFIG, Start(model=MODEL, checkpoint=content)).task
    assert isinstance(task, EndoFMTask)
    return task


def test_a_published_checkpoint_is_loaded_completely(published: tuple[Path, dict[str, Any]]) -> None:
    path, content = published
    task = started(read_checkpoint(path))
    for name, tensor in task.teacher.state_dict().items():
        assert torch.equal(tensor, content["teacher"][name]), name
    for name, tensor in task.network.state_dict().items():
        assert torch.equal(tensor, content["student"][f"module.{name}"]), name
    assert torch.equal(task.loss.center, content["dino_loss"]["center"])


def test_the_weights_that_the_original_begins_with_go_to_both(tmp_path: Path) -> None:
    flat, _ = random_networks()
    torch.save(to_parametrized(flat), tmp_path / "kinetics.pth")  # with the newer names of weight normalisation
    task = started(read_checkpoint(tmp_path / "kinetics.pth"))
    for network in (task.network, task.teacher):
        assert all(torch.equal(tensor, flat[name]) for name, tensor in network.state_dict().items())
    assert not task.loss.center.any()


def test_mismatches_are_named(published: tuple[Path, dict[str, Any]]) -> None:
    _, content = published
    tensors = content["teacher"]
    for changed, message in (
        ({**tensors, "head.mlp.0.bias": torch.zeros(3)}, r"teacher: .*head.mlp.0.bias is \(3,\), not \(24,\)"),
        ({n: t for n, t in tensors.items() if n != "backbone.norm.weight"}, "backbone.norm.weight is missing"),
        ({**tensors, "head.mlp.9.bias": torch.zeros(3)}, "head.mlp.9.bias is not expected"),
    ):
        with pytest.raises(StateDictError, match=message):
            started({**content, "teacher": changed})
    with pytest.raises(StateDictError, match=r"centre has the shape \(1, 3\), not \(1, 32\)"):
        started({**content, "dino_loss": {"center": torch.zeros(1, 3)}})
    with pytest.raises(CheckpointFormatError, match="no centre"):
        started({**content, "dino_loss": {}})
    with pytest.raises(CheckpointFormatError, match="neither the entries student and teacher nor a projection head"):
        started({"backbone.norm.weight": torch.zeros(3)})


names = st.lists(st.text("abcdefgh0123456789_", min_size=1, max_size=6), min_size=1, max_size=4).map(".".join)
weight_norm_names = st.builds(str.__add__, names, st.sampled_from(["", ".weight", ".bias", ".weight_g", ".weight_v"]))


@given(st.dictionaries(weight_norm_names, st.integers()))
def test_weight_norm_names_survive_the_way_there_and_back(values: dict[str, int]) -> None:
    there = to_parametrized(values)
    assert not any(name.endswith((".weight_g", ".weight_v")) for name in there)
    assert list(_unparametrized(there).items()) == list(values.items())
    assert to_parametrized(_unparametrized(there)) == there


def test_weight_norm_names_are_those_of_torch() -> None:
    linear = torch.nn.Linear(3, 2, bias=False)
    with pytest.warns(FutureWarning, match="weight_norm"):
        old = torch.nn.utils.weight_norm(linear).state_dict()
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2, bias=False))
    # The root of a module has no name, so the ending's dot has to be added and taken away again.
    renamed = {name[2:]: value for name, value in to_parametrized({f"x.{k}": v for k, v in old.items()}).items()}
    module.load_state_dict(renamed)
    assert torch.equal(module.weight, linear.weight)
