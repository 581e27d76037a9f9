"""Adapter-only files: complete, small, and bound to their encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from endofm import EndoFM, EndoFMForVideoClassification
from endofm.errors import CheckpointFormatError, ConfigError, StateDictError, WeightsError
from endofm.hub.tensor_file import read_metadata, read_tensors, write_tensor_file
from endofm.training.transfer.adapter_file import load_adapter, save_adapter
from endofm.training.transfer.methods import apply_transfer, named_transfer
from helpers.small_classifier import CONFIG, classifier, clip
from helpers.transferred_classifier import base, trained


@pytest.mark.parametrize("word", ["linear", "attentive", "st-adapter", "lora"])
def test_what_was_learnt_is_saved_alone_and_fits_its_encoder_only(word: str, tmp_path: Path) -> None:
    model = trained(word)
    path = save_adapter(model, named_transfer(word), tmp_path)
    whole = sum(t.numel() for t in model.state_dict().values()) * 4
    assert path.stat().st_size < (0.9 if word in ("st-adapter", "lora") else 0.3) * whole
    loaded = load_adapter(tmp_path, base())
    assert torch.equal(loaded(clip()), model(clip()))
    assert load_adapter(path, base(), precision="bfloat16").precision == "bfloat16"
    other = base()
    with torch.no_grad():
        other.blocks[0].mlp.fc1.bias[3] += 1e-6  # type: ignore[union-attr,index]
    with pytest.raises(StateDictError, match="other weights of the same shapes"):
        load_adapter(tmp_path, other)
    with pytest.raises(StateDictError, match="weights without a name"):
        load_adapter(tmp_path)


def test_an_adapter_finds_its_encoder_by_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="mean nothing"):
        encoder = EndoFM.from_pretrained("endofm-tiny-8x224-random")
    assert CONFIG.head is not None
    model = EndoFMForVideoClassification.from_backbone(encoder, CONFIG.head)  # type: ignore[arg-type]
    transfer = apply_transfer(model, "linear")
    save_adapter(model, transfer, tmp_path)
    with pytest.warns(UserWarning, match="mean nothing"):
        loaded = load_adapter(tmp_path)
    assert torch.equal(loaded.backbone.cls_token, encoder.cls_token)  # type: ignore[union-attr]


def test_files_that_are_no_adapters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFormatError, match="no such adapter"):
        load_adapter(tmp_path, base())
    folder = classifier().save_pretrained(tmp_path / "whole")
    with pytest.raises(CheckpointFormatError, match="not an adapter"):
        load_adapter(folder / "model.safetensors", base())
    (tmp_path / "adapter.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointFormatError, match="damaged"):
        load_adapter(tmp_path, base())


def rewritten(path: Path, **changes: Any) -> None:
    """Change entries of an adapter's description; None removes one."""
    metadata, tensors = read_metadata(path), read_tensors(path)
    about = {**json.loads(metadata["endofm_adapter"]), **changes}
    kept = {key: value for key, value in about.items() if value is not None}
    write_tensor_file(path, tensors, {**metadata, "endofm_adapter": json.dumps(kept)})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"config": None}, CheckpointFormatError),
        ({"transfer": []}, CheckpointFormatError),
        ({"base": "endofm"}, CheckpointFormatError),
        ({"base": {}}, StateDictError),
        ({"transfer": {"name": ["lora"]}}, ConfigError),
        ({"transfer": {"name": "lora", "rank": "8"}}, ConfigError),
        ({"transfer": {"name": "lora", "width": 8}}, ConfigError),
        ({"transfer": {"name": "lora", "rank": 10**400}}, ConfigError),
        ({"transfer": {"name": "st-adapter", "width": 10**400}}, ConfigError),
        # Shapes are compared before anything is reserved.
        ({"transfer": {"name": "lora", "rank": 60_000}}, StateDictError),
        ({"transfer": {"name": "st-adapter", "width": 60_000, "kernel": [4095, 4095, 4095]}}, StateDictError),
        ({"config": {"encoder": {"depth": 10**9}}}, ConfigError),
        ({"config": {"encoder": {"embed_dim": 65536, "depth": 4096, "num_heads": 1024}}}, WeightsError),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    path = save_adapter(trained("linear"), named_transfer("linear"), tmp_path)
    config = json.loads(read_metadata(path)["endofm_adapter"])["config"]
    if isinstance(changes.get("config"), dict):
        encoder = {**config["encoder"], **changes["config"]["encoder"]}
        changes = {"config": {**config, "encoder": encoder}}
    rewritten(path, **changes)
    with pytest.raises(error):
        load_adapter(path, base())


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_learnt_tensors_of_types_that_networks_do_not_compute_in_are_refused(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    from safetensors.torch import save_file

    path = save_adapter(trained("linear"), named_transfer("linear"), tmp_path)
    metadata, tensors = read_metadata(path), read_tensors(path)
    save_file({**tensors, "head.linear.weight": tensors["head.linear.weight"].to(dtype)}, path, metadata=metadata)
    with pytest.raises(StateDictError, match=rf"1 of another type: head.linear.weight {dtype}"):
        load_adapter(path, base())


def test_learnt_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = save_adapter(trained("linear"), named_transfer("linear"), tmp_path)
    tensors = read_tensors(path)
    tensors["head.linear.weight"][0, 0] = float("nan")
    write_tensor_file(path, tensors, read_metadata(path))
    with pytest.raises(CheckpointFormatError, match="not finite"):
        load_adapter(path, base())


def test_equal_adapters_are_equal_bytes(tmp_path: Path) -> None:
    first, second = (save_adapter(trained("lora"), named_transfer("lora"), tmp_path / run) for run in ("1", "2"))
    assert first.read_bytes() == second.read_bytes()
    (tmp_path / "plain").touch()
    assert first.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("word", ["linear", "st-adapter", "lora"])
@pytest.mark.parametrize("first", [True, False])
def test_compiled_parts_do_not_show_in_the_file(tmp_path: Path, word: str, first: bool) -> None:
    """The file of a model that was compiled before or after its preparation is the file of one that never was."""

    def made(compiled: bool) -> Path:
        torch.manual_seed(0)
        model = classifier()
        if compiled and first:
            wrap(model)
        transfer = apply_transfer(model, word)
        if compiled and not first:
            wrap(model)
        assert any("_orig_mod" in name for name in model.state_dict()) == compiled
        return save_adapter(model, transfer, tmp_path / str(compiled))

    def wrap(model: Any) -> None:
        model.backbone.blocks[1] = torch.compile(model.backbone.blocks[1])
        model.backbone = torch.compile(model.backbone)

    plain, compiled = made(False), made(True)
    assert compiled.read_bytes() == plain.read_bytes()
    encoder: Any = base()
    encoder.blocks[0] = torch.compile(encoder.blocks[0])
    assert load_adapter(compiled, encoder).labels == classifier().labels  # type: ignore[attr-defined]
