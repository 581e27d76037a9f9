"""Files in the safetensors format: the library reads what is written, byte for byte equal, under the user's umask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from endofm.errors import CheckpointFormatError, InputError
from endofm.hub.tensor_file import (
    is_weight_type,
    read_metadata,
    read_tensors,
    unwrapped,
    unwrapped_name,
    write_tensor_file,
)

MIXED = {
    "half": torch.arange(3, dtype=torch.float16),
    "flags": torch.tensor([True, False, True]),
    "double": torch.arange(5, dtype=torch.float64).reshape(5, 1),
    "count": torch.tensor(7),
    "brain": torch.arange(4, dtype=torch.bfloat16).reshape(2, 2),
    "empty": torch.zeros(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    'quoted "é"': torch.nn.Parameter(torch.arange(2.0)),
}


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    write_tensor_file(tmp_path / "x.safetensors", MIXED, {"a": "ä\n", "b": ""})
    loaded = load_file(tmp_path / "x.safetensors")
    assert set(loaded) == set(MIXED)
    for name, tensor in MIXED.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    assert read_metadata(tmp_path / "x.safetensors") == {"a": "ä\n", "b": ""}
    assert set(read_tensors(tmp_path / "x.safetensors")) == set(MIXED)


def test_the_file_is_that_of_the_library_where_that_has_one_form(tmp_path: Path) -> None:
    tensors = {name: tensor.detach().contiguous() for name, tensor in MIXED.items() if "quoted" not in name}
    write_tensor_file(tmp_path / "ours.safetensors", tensors, {"format": "pt"})
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert len((tmp_path / "ours.safetensors").read_bytes()) == len((tmp_path / "theirs.safetensors").read_bytes())


def test_every_tensor_is_aligned(tmp_path: Path) -> None:
    write_tensor_file(tmp_path / "x.safetensors", MIXED, {})
    raw = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert length % 8 == 0
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        assert entry["data_offsets"][0] % MIXED[name].dtype.itemsize == 0


def test_the_order_in_which_things_are_given_does_not_matter(tmp_path: Path) -> None:
    write_tensor_file(tmp_path / "1", MIXED, {"a": "1", "b": "2"})
    write_tensor_file(tmp_path / "2", dict(reversed(MIXED.items())), {"b": "2", "a": "1"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_arrays_and_tensors_make_the_same_file(tmp_path: Path) -> None:
    write_tensor_file(tmp_path / "1", {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, {})
    write_tensor_file(tmp_path / "2", {"x": torch.arange(6.0).reshape(2, 3)}, {})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_the_umask_says_who_may_read(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_tensor_file(tmp_path / "x", MIXED, {})
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask


def test_types_without_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'x' is of the type torch.complex64"):
        write_tensor_file(tmp_path / "x", {"x": torch.zeros(1, dtype=torch.complex64)}, {})
    assert not (tmp_path / "x").exists()


def test_damage_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nonsense" * 10)
    for read in (read_tensors, read_metadata):
        with pytest.raises(CheckpointFormatError, match="damaged"):
            read(tmp_path / "x")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_may_stand_for_one_another(dtype: torch.dtype) -> None:
    assert is_weight_type(dtype, like=torch.float32)
    assert not is_weight_type(dtype, like=torch.int64)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.int64, torch.complex64, torch.float8_e4m3fn])
def test_other_types_may_not(dtype: torch.dtype) -> None:
    assert not is_weight_type(dtype, like=torch.float32)


@pytest.mark.parametrize(
    "name",
    [
        "module.blocks.0.attn.qkv.weight",
        "_orig_mod.module.blocks.0.attn.qkv.weight",
        "blocks.0._orig_mod.attn._orig_mod.qkv.weight",
        "_fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.attn.qkv.weight",
        "model.net._orig_mod.blocks.0.attn.qkv.weight",
    ],
)
def test_names_lose_what_wrappers_added(name: str) -> None:
    assert unwrapped_name(name) == "blocks.0.attn.qkv.weight"


@pytest.mark.parametrize("name", ["transformer.encoder.layer.0", "head.module_list", "cls_token", "modules.0"])
def test_other_names_stay(name: str) -> None:
    assert unwrapped_name(name) == name


def test_two_tensors_never_become_one() -> None:
    with pytest.raises(CheckpointFormatError, match="same name without their prefixes: 'x'"):
        unwrapped({"x": torch.zeros(1), "module.x": torch.ones(1)}, "file")


def test_models_and_cards_of_two_processes_are_equal(tmp_path: Path) -> None:
    """The library's writer orders the metadata by a random seed of the process."""
    code = """
import sys, torch
from endofm import EncoderConfig, EndoFM, ModelConfig, PreprocessConfig
torch.manual_seed(0)
encoder = EncoderConfig(embed_dim=64, depth=1, num_heads=1, img_size=32, num_frames=2)
config = ModelConfig(encoder=encoder, preprocess=PreprocessConfig(num_frames=2, crop_size=32, short_side=32))
EndoFM(config).save_pretrained(sys.argv[1])
"""
    for run in ("1", "2"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / run)], check=True, timeout=300)
    for name in ("model.safetensors", "config.json", "README.md"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
