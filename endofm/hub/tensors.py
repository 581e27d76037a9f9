"""Weights files of this package: safetensors that carry their own configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from endofm.config import ModelConfig
from endofm.errors import CheckpointFormatError

_CONFIG_KEY = "endofm_config"


def write_tensors(path: Path, state_dict: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Write tensors and, in the file's header, the configuration that they belong to.

    Args:
        path: File to write.
        state_dict: Tensors by name; they are written as contiguous CPU tensors of their dtype.
        config: Configuration.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata={"format": "pt", _CONFIG_KEY: json.dumps(config.to_dict())})
    path.chmod(mode)  # safetensors lets nobody but the writer read the file


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file into memory of its own.

    Raises:
        CheckpointFormatError: If the file is damaged, cut off or of another format.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # Copied, because the tensors are windows into the file: if it changed or went away, so would the model.
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def read_config(path: Path) -> ModelConfig | None:
    """Return the configuration in the header of a safetensors file, or None if another program wrote the file.

    Raises:
        CheckpointFormatError: If the file is damaged, cut off or of another format.
        ConfigError: If the configuration in the header is not valid.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(_CONFIG_KEY)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CheckpointFormatError(f"{path}: the configuration in the file's header is damaged ({error})") from error
    return ModelConfig.from_dict(values, where=f"{path} (header)")


def _unreadable(path: Path, error: Exception) -> CheckpointFormatError:
    return CheckpointFormatError(
        f"{path}: the file is damaged, cut off or not a safetensors file ({error}). Download or write it again."
    )
