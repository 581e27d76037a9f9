"""Adapter-only files: the learned tensors without the frozen encoder, with a digest of the encoder they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from endofm.config import EncoderConfig, ModelConfig
from endofm.errors import CheckpointFormatError, ConfigError, StateDictError
from endofm.files import atomic_path
from endofm.hub.model_folder import check_state_dict
from endofm.hub.tensor_file import (
    read_metadata,
    read_tensors,
    require_finite,
    unwrapped,
    unwrapped_name,
    write_tensor_file,
)
from endofm.json_text import parse_json
from endofm.kernels.precision import Precision, resolve_precision, usable_device
from endofm.models.auto import model_class
from endofm.models.pretrained import Pretrained
from endofm.tasks.features.model import VideoEncoder, load_encoder
from endofm.training.config_schema import build_config
from endofm.training.transfer.base import Transfer, backbone_of, trainable_parameters
from endofm.training.transfer.methods import apply_transfer, named_transfer

ADAPTER_NAME = "adapter.safetensors"
_KEY = "endofm_adapter"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class _Description:
    """Content of an adapter's header: the model, the method, and name and digest of the frozen encoder."""

    config: ModelConfig
    transfer: Transfer
    source: str
    digest: str


def save_adapter(model: Pretrained, transfer: Transfer, folder: str | Path) -> Path:
    """Write the learned tensors of a model: its head, and its encoder without the frozen part.

    Args:
        model: A model that :func:`~endofm.training.transfer.methods.apply_transfer` has prepared.
        transfer: The method that it was prepared for.
        folder: Created if missing; ``adapter.safetensors`` in it is replaced.

    Returns:
        The path of the file.
    """
    frozen = _frozen_tensors(model)
    tensors = {name: t for name, t in unwrapped(model.state_dict(), "the model").items() if name not in frozen}
    about = {
        "format_version": _FORMAT_VERSION,
        "config": _without_adapter(model.config).to_dict(),
        "transfer": asdict(transfer),
        "base": {"source": model.provenance.get("record", ""), "digest": _digest(frozen)},
    }
    path = Path(folder) / ADAPTER_NAME
    with atomic_path(path) as temporary:
        write_tensor_file(temporary, tensors, {"format": "pt", _KEY: json.dumps(about)})
    return path


def load_adapter(
    folder: str | Path,
    base: str | Path | VideoEncoder | None = None,
    *,
    device: str | torch.device | None = None,
    precision: Precision | Literal["auto"] = "exact",
    **options: Any,
) -> Pretrained:
    """Load an adapter onto the encoder that it was trained on.

    Args:
        folder: Folder or file that :func:`save_adapter` wrote.
        base: The encoder, or its source as for ``endofm.load_encoder``; by default the registered weights that the
            adapter was trained on.
        device: Device of the model; the CPU by default.
        precision: Precision of the encoder; see ``endofm.load_encoder``.
        **options: Further arguments of ``endofm.load_encoder``.

    Returns:
        The model in evaluation mode; its outputs are those of the model that was saved.

    Raises:
        CheckpointFormatError: If the file is missing, damaged or not an adapter.
        StateDictError: If the encoder is not the one that the adapter was trained on, to the last bit.
        WeightsError: If the encoder cannot be loaded.
    """
    path = Path(folder)
    path = path / ADAPTER_NAME if path.is_dir() else path
    about = _describe(path)
    source = base if base is not None else about.source
    if source == "":
        raise StateDictError(f"{path}: this adapter was trained on weights without a name; give them (base)")
    encoder = source if isinstance(source, VideoEncoder) else load_encoder(source, **options)
    given, tensors = unwrapped(encoder.state_dict(), "base"), read_tensors(path)
    # Everything is compared without memory first: a file of a few bytes can describe a network of any size.
    with torch.device("meta"):
        shell = model_class(about.config.task)(about.config)
        expected = backbone_of(shell).state_dict()
        check_state_dict(
            expected,
            {name: tensor for name, tensor in given.items() if name in expected},
            source=str(source) if not isinstance(source, VideoEncoder) else "base",
            model=f"the encoder that {path} belongs to",
        )
        # Prepared like the saved model, so that the frozen tensors and the learned ones have the names of the file.
        apply_transfer(shell, about.transfer)
    frozen = _frozen_tensors(shell)
    check_state_dict(
        {name: tensor for name, tensor in shell.state_dict().items() if name not in frozen},
        tensors,
        source=str(path),
        model=f"a {about.config.task} model with transfer {about.transfer.name}",
    )
    require_finite(tensors, str(path))
    model = model_class(about.config.task)(about.config)
    backbone_of(model).load_state_dict({name: given[name] for name in expected})
    apply_transfer(model, about.transfer)
    if _digest(_frozen_tensors(model)) != about.digest:
        named = about.source or "other weights"
        raise StateDictError(
            f"{path}: this adapter was trained on {named}, but the given encoder has other weights of the same shapes; "
            "the outputs would be meaningless"
        )
    model.load_state_dict(tensors, strict=False)
    model.provenance = {**encoder.provenance, "adapter": path.name}
    target = usable_device(device)
    model = model.to(target).eval()
    model.precision = resolve_precision(precision, target)
    return model


def _frozen_tensors(model: Pretrained) -> dict[str, Tensor]:
    """Return the tensors of the encoder that are frozen, by their names in a model that is not compiled."""
    trainable = {unwrapped_name(name) for name, _ in trainable_parameters(model)}
    tensors = unwrapped(model.state_dict(), "the model")
    return {name: t for name, t in tensors.items() if name.startswith("backbone.") and name not in trainable}


def _without_adapter(config: ModelConfig) -> ModelConfig:
    plain = replace(config.encoder, st_adapter=None) if isinstance(config.encoder, EncoderConfig) else config.encoder
    return replace(config, encoder=plain)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a checksum of tensors, their names and shapes."""
    digest = hashlib.sha256()
    # Names and shapes are part of the digest, so that neither renamed nor reshaped tensors pass for the same ones.
    # In float32 it does not depend on the precision that the encoder was loaded in.
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(values.shape)}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _describe(path: Path) -> _Description:
    """Read the description of an adapter; its tensors are not read yet."""
    if not path.is_file():
        raise CheckpointFormatError(f"{path}: there is no such adapter")
    try:
        about = parse_json(read_metadata(path).get(_KEY, "{}"))
    except ValueError as error:
        raise CheckpointFormatError(f"{path}: the description in the file's header is damaged ({error})") from error
    if not isinstance(about, dict) or about.get("format_version") != _FORMAT_VERSION:
        raise CheckpointFormatError(
            f"{path}: this is not an adapter that this release reads; a whole model is loaded with from_pretrained"
        )
    config, transfer, base = (about.get(name) for name in ("config", "transfer", "base"))
    if not isinstance(config, dict) or not isinstance(transfer, dict) or not isinstance(base, dict):
        raise CheckpointFormatError(f"{path}: the description in the file's header is incomplete")
    try:
        method = type(named_transfer(str(transfer.get("name"))))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return _Description(
        config=ModelConfig.from_dict(config, source=str(path)),
        transfer=build_config(method, transfer, source=str(path)),
        source=str(base.get("source", "")),
        digest=str(base.get("digest", "")),
    )
