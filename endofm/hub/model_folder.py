"""Model folders: ``model.safetensors``, ``config.json`` and a model card in ``README.md``. Reading and writing.

The safetensors file carries the configuration in its header as well, so that it can be loaded without the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.config import ModelConfig
from endofm.errors import CheckpointFormatError, ConfigError, InputError, StateDictError, WeightsNotFoundError, quoted
from endofm.files import atomic_path, require_writable
from endofm.hub.download import file_sha256
from endofm.hub.model_card import model_card
from endofm.hub.registry import find_record
from endofm.hub.task_layout import check_tensors
from endofm.hub.tensor_file import is_weight_type, read_metadata, unwrapped, write_tensor_file
from endofm.hub.weight_record import WeightRecord
from endofm.json_text import parse_json

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
CARD_NAME = "README.md"

_CONFIG_KEY = "endofm_config"

_SHOWN = 4
"""Number of names that a message lists; the rest are counted."""


def save_folder(
    folder: str | Path,
    *,
    config: ModelConfig,
    state_dict: Mapping[str, Tensor],
    card: str | None = None,
    record: WeightRecord | None = None,
    provenance: Mapping[str, str] | None = None,
    sections: Mapping[str, str] | None = None,
) -> Path:
    """Write a model folder. A reader finds the old model, or none, or the new one, never a mixture.

    Other files in the folder are kept.

    Args:
        folder: Folder to create or to write to.
        config: Configuration.
        state_dict: The model's tensors. The names of compiled modules in it are written as if they were not compiled.
        card: Text of the model card; generated if not given.
        record: Record that the generated card describes; by default the one that the provenance names.
        provenance: Origin of the weights, as :func:`~endofm.hub.resolve.load_weights` reports it.
        sections: Sections of the generated card by heading; see :func:`~endofm.hub.model_card.model_card`.

    Returns:
        The folder.

    Raises:
        StateDictError: If the tensors are not those of the configuration. Nothing is written.
        InputError: If ``folder`` is a file, or cannot be written.
    """
    folder = Path(folder)
    require_writable(folder)
    if folder.is_file():
        raise InputError(f"{folder} is a file; give the name of a folder")
    state_dict = unwrapped(state_dict, str(folder))
    check_tensors(config, state_dict, source=str(folder))
    # A model that was loaded and is saved again keeps the card of its origin.
    if record is None and provenance:
        record = find_record(provenance.get("record", ""))
    config_file = folder / CONFIG_NAME
    # The three are written first and then renamed in reverse order: weights, card, configuration.
    with (
        atomic_path(config_file) as new_config,
        atomic_path(folder / CARD_NAME) as new_card,
        atomic_path(folder / WEIGHTS_NAME) as new_weights,
    ):
        write_tensors(new_weights, state_dict, config)
        if card is None:
            card = model_card(config, record, sha256=file_sha256(new_weights), provenance=provenance, sections=sections)
        new_card.write_text(card, encoding="utf-8")
        new_config.write_text(config.to_json(), encoding="utf-8")
        # A folder without a configuration is not a model; the new one appears last.
        config_file.unlink(missing_ok=True)
    return folder


def read_folder_config(folder: Path) -> ModelConfig:
    """Return the configuration of a model folder after checking that its files belong together.

    Raises:
        WeightsNotFoundError: If the folder lacks one of the two files.
        ConfigError: If the configuration is not valid, or describes another network than the weights' own header.
    """
    weights = folder / WEIGHTS_NAME
    for file in (folder / CONFIG_NAME, weights):
        if not file.is_file():
            others = sorted(path.name for path in folder.glob("*.pth"))
            hint = f" To use {others[0]}, run `endofm convert {folder / others[0]} OUT`." if others else ""
            raise WeightsNotFoundError(
                f"{folder}: there is no {file.name} in this folder; a model folder holds {CONFIG_NAME} and "
                f"{WEIGHTS_NAME}.{hint}"
            )
    return matching_config(folder / CONFIG_NAME, weights)


def matching_config(config_file: Path, weights: Path) -> ModelConfig:
    """Return the configuration in ``config.json`` after comparing its network with that of the weights' header.

    Preprocessing, labels and thresholds may be edited there; the network may not.

    Raises:
        ConfigError: If the networks differ, or the configuration is not valid.
    """
    config = ModelConfig.from_file(config_file)
    header = read_config(weights)
    if header is None:
        return config  # written by another program
    if header.encoder != config.encoder:
        raise ConfigError(
            f"{config_file} describes another encoder ({config.encoder}) than the header of {weights} "
            f"({header.encoder}); the two files do not belong together"
        )
    classes, header_classes = (c.head.num_classes if c.head else None for c in (config, header))
    if (header.task, header_classes) != (config.task, classes):
        raise ConfigError(
            f"{config_file} describes another head ({quoted(config.head)}) than the header of {weights} "
            f"({quoted(header.head)}); the two files do not belong together"
        )
    return config


def write_tensors(path: Path, state_dict: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Write tensors to a safetensors file, with their configuration in its header.

    Args:
        path: File to write.
        state_dict: Tensors by name; they are written in their own types.
        config: Configuration.
    """
    write_tensor_file(path, state_dict, {"format": "pt", _CONFIG_KEY: json.dumps(config.to_dict())})


def read_config(path: Path) -> ModelConfig | None:
    """Return the configuration in the header of a safetensors file, or None if another program wrote the file.

    Raises:
        CheckpointFormatError: If the file is damaged, cut off or of another format.
        ConfigError: If the configuration in the header is not valid.
    """
    text = read_metadata(path).get(_CONFIG_KEY)
    if text is None:
        return None
    try:
        values = parse_json(text)
    except ValueError as error:
        raise CheckpointFormatError(f"{path}: the configuration in the file's header is damaged ({error})") from error
    return ModelConfig.from_dict(values, source=f"{path} (header)")


def check_state_dict(
    expected: Mapping[str, Tensor], state_dict: Mapping[str, Tensor], *, source: str, model: str
) -> None:
    """Raise unless a state dict has exactly the expected names and shapes, and types that networks compute in.

    Args:
        expected: Tensors by name; they may be on the ``meta`` device.
        state_dict: Tensors by name.
        source: Name of the file, for messages.
        model: Description of the network that the tensors should belong to, with its article.

    Raises:
        StateDictError: Naming the first few tensors that are missing, unexpected, of another shape or of another type.
    """
    missing = [name for name in expected if name not in state_dict]
    unexpected = [quoted(name)[1:-1] for name in state_dict if name not in expected]
    reshaped = [
        f"{name} {tuple(state_dict[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state_dict and state_dict[name].shape != tensor.shape
    ]
    # A network that takes integers, complex numbers or 8-bit floats for weights rounds them, or fails in its first run.
    retyped = [
        f"{name} {state_dict[name].dtype} instead of {tensor.dtype}"
        for name, tensor in expected.items()
        if name in state_dict and not is_weight_type(state_dict[name].dtype, like=tensor.dtype)
    ]
    problems = [
        f"{len(names)} {kind}: {_first(names)}"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", reshaped),
            ("of another type", retyped),
        )
        if names
    ]
    if problems:
        raise StateDictError(
            f"{source}: the tensors are not those of {model}: "
            f"{'; '.join(problems)}. Nothing was loaded. Check that the weights and the configuration belong together; "
            "published checkpoints are read with `endofm convert`."
        )


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    more = f", and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
