"""Checkpoints of the original code, and files that pretend to be one."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import os
import pickle
import types
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch

from endofm.errors import CheckpointFormatError, InputError, StateDictError, UnsafeCheckpointError
from endofm.hub.checkpoint_file import read_checkpoint
from endofm.hub.convert import convert_checkpoint
from endofm.hub.encoder_tensors import find_encoder
from helpers.small_encoder import ENCODER, prefixed, same, tensors, training_checkpoint, with_head


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def test_the_teacher_of_a_training_checkpoint_is_taken(tmp_path: Path) -> None:
    found = find_encoder(read_checkpoint(saved(tmp_path / "endo_fm.pth", training_checkpoint())))
    assert same(found.tensors, tensors("teacher/"))
    assert found.part == "teacher"
    assert len(found.left_out_tensors) == 8
    assert found.left_out_tensors[0] == "head.mlp.0.weight"
    assert set(found.left_out_entries) == {"student", "optimizer", "epoch", "args", "dino_loss", "fp16_scaler"}


def test_the_student_is_taken_when_asked_for(tmp_path: Path) -> None:
    content = read_checkpoint(saved(tmp_path / "endo_fm.pth", training_checkpoint()))
    assert same(find_encoder(content, part="student").tensors, tensors("student/"))


LAYOUTS: dict[str, Callable[[], dict[str, Any]]] = {
    "flat, Kinetics": with_head,
    "flat, bare names": tensors,
    "flat, module.": lambda: prefixed(tensors(), "module."),
    "student alone": lambda: {"student": with_head("module."), "epoch": 1},
    "fine-tuned": lambda: {
        "epoch": 3,
        "state_dict": {"module.linear.weight": torch.zeros(2, 64), "module.linear.bias": torch.zeros(2)},
        "backbone_state_dict": prefixed(tensors(), "module."),
        "best_f1": 91.5,
    },
    "model": lambda: {"model": tensors() | {"head.weight": torch.zeros(400, 64), "head.bias": torch.zeros(400)}},
    "state_dict": lambda: {"state_dict": prefixed(tensors(), "module.")},
    "model_state": lambda: {"model_state": prefixed(tensors(), "model."), "cfg": "x"},
    "compiled": lambda: prefixed(tensors(), "_orig_mod."),
    "compiled, then DDP": lambda: {"model_state_dict": prefixed(tensors(), "module._orig_mod.")},
    "DDP, then compiled": lambda: {"model": prefixed(tensors(), "_orig_mod.module.")},
    "single blocks compiled": lambda: {
        "net": {name.replace("blocks.1.", "blocks.1._orig_mod."): tensor for name, tensor in tensors().items()}
    },
    "attention compiled, with a head": lambda: {
        "network": prefixed(
            {name.replace(".attn.", ".attn._orig_mod."): t for name, t in with_head().items()}, "module."
        )
    },
    "PyTorch's tutorial": lambda: {
        "epoch": 3,
        "model_state_dict": tensors(),
        "optimizer_state_dict": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "loss": torch.tensor(0.1),
    },
    "DeepSpeed": lambda: {"module": tensors(), "dp_world_size": 1},
    "Lightning": lambda: {"state_dict": prefixed(tensors(), "net.backbone."), "hyper_parameters": {"lr": 0.1}},
    "an average of weights": lambda: {"n_averaged": torch.tensor(7)} | prefixed(tensors(), "module."),
    "some other name": lambda: {"weights": tensors(), "mean": torch.zeros(3)},
    "two levels": lambda: {"checkpoint": {"model": tensors(), "epoch": 3}},
    "tensors among values": lambda: tensors() | {"epoch": 3},
    "moments by the names of weights": lambda: {"model": tensors(), "optimizer": {"exp_avg": tensors("student/")}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_known_layout_gives_the_encoder(layout: str, tmp_path: Path) -> None:
    converted = convert_checkpoint(saved(tmp_path / "x.pth", LAYOUTS[layout]()), num_heads=4, task="features")
    assert same(converted.state_dict, tensors())
    assert converted.config.encoder == ENCODER
    assert converted.config.preprocess.crop_size == 32
    assert converted.config.preprocess.num_frames == 4
    assert converted.record is None


def test_files_of_old_releases_of_torch_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "old.pth", training_checkpoint(), _use_new_zipfile_serialization=False)
    assert same(find_encoder(read_checkpoint(path)).tensors, tensors("teacher/"))


def test_numpy_scalars_under_their_older_name_are_read(tmp_path: Path) -> None:
    """The published file was written by numpy 1, whose scalars have another module name."""
    new = saved(tmp_path / "new.pth", training_checkpoint())
    old = tmp_path / "old.pth"
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert b"cnumpy._core.multiarray\nscalar\n" in content
                content = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            target.writestr(name, content)
    assert same(find_encoder(read_checkpoint(old)).tensors, tensors("teacher/"))


def test_the_command_line_in_the_file_is_kept_and_the_scalars_are_not(tmp_path: Path) -> None:
    content = read_checkpoint(saved(tmp_path / "x.pth", training_checkpoint()))
    assert content["args"].arch == "timesformer"
    assert not isinstance(content["optimizer"]["param_groups"][0]["lr"], (float, np.floating))


def test_the_tensors_do_not_depend_on_the_file_any_more(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", with_head())
    found = find_encoder(read_checkpoint(path))
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert same(found.tensors, tensors())


class Malicious:
    """Runs a command while it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_checkpoint_is_refused_and_does_not_run(tmp_path: Path, zipped: bool, protocol: int) -> None:
    marker = tmp_path / "ran"
    path = saved(
        tmp_path / "evil.pth",
        {"teacher": with_head(), "args": Malicious(marker)},
        _use_new_zipfile_serialization=zipped,
        pickle_protocol=protocol,
    )
    with pytest.raises(UnsafeCheckpointError, match=r"evil\.pth.*was not read"):
        read_checkpoint(path)
    assert not marker.exists()
    # The same file does run when it is trusted, so that the test would notice a harmless one.
    torch.load(path, weights_only=False)
    assert marker.exists()


class Unknown:
    """A kind of object that no training loop is known for."""


def test_the_unsafe_object_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"teacher": with_head(), "args": Unknown()})
    with pytest.raises(UnsafeCheckpointError, match=r"objects that are not tensors \(.*Unknown"):
        read_checkpoint(path)


BESIDE: dict[str, Any] = {
    "a path in the command line": argparse.Namespace(out=Path("runs/1"), also=PureWindowsPath("c:/x")),
    "a path as a key": {Path("train.csv"): 1},
    "an array": np.arange(12.0).reshape(3, 4),
    "an array of strings": np.array(["polyp"]),
    "an array of objects": np.array(["polyp", None, Path("x")], dtype=object),
    "a scalar": np.float32(1.5),
    "the state of a generator": np.random.default_rng(0).standard_normal(3),
    "times": [
        datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
        datetime.timedelta(3),
        datetime.date(1, 2, 3),
    ],
    "numbers": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=7)],
    "dictionaries": [
        collections.defaultdict(list, {"loss": [0.1]}),
        collections.Counter("aab"),
        collections.OrderedDict(a=1),
    ],
    "settings": types.SimpleNamespace(rate=0.1, folder=Path("x")),
}


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("zipped", [True, False])
def test_objects_that_training_loops_store_are_left_out(tmp_path: Path, kind: str, zipped: bool) -> None:
    content = {"model": tensors(), "extra": BESIDE[kind]}
    path = saved(tmp_path / "x.pth", content, _use_new_zipfile_serialization=zipped)
    assert same(find_encoder(read_checkpoint(path)).tensors, tensors())


def test_arrays_and_paths_are_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "x.pth", {"teacher": with_head(), "extra": np.zeros(3), "out": Path("x")})
    content = read_checkpoint(path)
    assert not isinstance(content["extra"], np.ndarray)
    assert not isinstance(content["out"], Path)
    assert vars(content["extra"]) == vars(content["out"]) == {}


def test_the_environment_cannot_switch_safety_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "ran"
    with pytest.raises(UnsafeCheckpointError):
        read_checkpoint(saved(tmp_path / "x.pth", {"args": Malicious(marker)}))
    assert not marker.exists()


def test_nothing_stays_allowed_afterwards(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", training_checkpoint())
    read_checkpoint(path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a PyTorch checkpoint"),
        (b"plain text", "not a PyTorch checkpoint"),
        (b"<!DOCTYPE html><html>Sign in", "web page"),
        (b"\x80\x02}q\x00.", "damaged"),
        (b"PK\x03\x04 something", "cut off"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointFormatError, match=message):
        read_checkpoint(path)


def test_a_checkpoint_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "x.pth", training_checkpoint()).read_bytes()
    path = tmp_path / "cut.pth"
    for share in (0.01, 0.3, 0.7, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointFormatError, match=r"cut\.pth"):
            read_checkpoint(path)


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFormatError, match="holds a list"):
        read_checkpoint(saved(tmp_path / "x.pth", [1, 2]))
    with pytest.raises(CheckpointFormatError, match="the file holds: epoch"):
        find_encoder({"epoch": 3})


@pytest.mark.parametrize("part", ["teacher", "student"])
def test_a_part_that_is_not_there_is_refused(part: str) -> None:
    with pytest.raises(InputError, match=part):
        find_encoder(tensors(), part=part)


def test_names_that_would_collide_are_refused() -> None:
    with pytest.raises(CheckpointFormatError, match="same name.*cls_token"):
        find_encoder(tensors() | {"module.cls_token": torch.zeros(1)})


def test_unknown_tensors_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", tensors() | {"aux_token": torch.zeros(1)})
    with pytest.raises(StateDictError, match="1 unexpected: aux_token"):
        convert_checkpoint(path, num_heads=4)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1).expand(1, 1, 64), "larger than the data"),
        (torch.zeros(1, 1, 64, dtype=torch.int64), "not an ordinary tensor"),
        (torch.zeros(1, 1, 64).to_sparse(), "not an ordinary tensor"),
        (torch.nested.nested_tensor([torch.zeros(64)]), "not an ordinary tensor"),
    ],
)
def test_tensors_that_are_no_plain_arrays_are_refused(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(CheckpointFormatError, match=message):
        find_encoder(tensors() | {"cls_token": tensor})


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = tensors()
    broken["norm.bias"][3] = float("nan")
    with pytest.raises(CheckpointFormatError, match=r"'norm\.bias' holds values that are not finite"):
        convert_checkpoint(saved(tmp_path / "x.pth", broken), num_heads=4)


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_is_noticed(tmp_path: Path, seed: int) -> None:
    path = saved(tmp_path / "model.pth", {"model": tensors()})
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    position = int(rng.integers(len(data)))
    data[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    try:
        content = read_checkpoint(path)
    except (CheckpointFormatError, UnsafeCheckpointError):
        return
    # Padding between the parts and some fields of the directory carry nothing.
    assert same(content["model"], tensors())


@pytest.mark.parametrize("offset", [6, 8])
def test_a_damaged_directory_of_the_archive_is_noticed(tmp_path: Path, offset: int) -> None:
    path = saved(tmp_path / "model.pth", {"model": tensors()})
    data = bytearray(path.read_bytes())
    # Flags (an encrypted part) and compression method (an unknown one), in the directory and in the part's header.
    for signature, shift in ((b"PK\x01\x02", 2), (b"PK\x03\x04", 0)):
        data[data.find(signature) + offset + shift] ^= 1 if offset == 6 else 99
    path.write_bytes(data)
    with pytest.raises(CheckpointFormatError, match="damaged"):
        read_checkpoint(path)


def test_two_networks_of_a_file_are_not_guessed_between(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"model": tensors(), "model_ema": tensors("teacher/"), "epoch": 3})
    with pytest.raises(CheckpointFormatError, match=r"'model', 'model_ema' all hold an encoder.*--part"):
        convert_checkpoint(path, num_heads=4)
    assert same(convert_checkpoint(path, num_heads=4, part="model_ema").state_dict, tensors("teacher/"))
    with pytest.raises(InputError, match="'ema' was requested as an encoder, but the file holds 'model', 'model_ema'"):
        convert_checkpoint(path, num_heads=4, part="ema")


def test_a_mapping_that_repeats_itself_has_an_end() -> None:
    content: dict[str, Any] = {"epoch": 3}
    for _ in range(40):
        content = {f"{number}": content for number in range(10)}
    with pytest.raises(CheckpointFormatError, match="the file holds: 0, 1"):
        find_encoder(content)
