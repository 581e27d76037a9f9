"""Resolution of a weights source to tensors and their configuration, without guessing.

============================================  ===================================================================
``load_weights(...)``                         source
============================================  ===================================================================
``"endofm-base-8x224"``                       registered weights (``endofm models`` lists them)
``"owner/name"``, ``"owner/name@revision"``   a repository of the hub
``"some/folder"``, ``"./folder"``             a model folder, if it exists; a path that begins with ``.``, ``/`` or
                                              ``~`` is never taken for anything else
``"model.safetensors"``                       one weights file
``"endo_fm.pth"``                             a published checkpoint
============================================  ===================================================================
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.config import ModelConfig
from endofm.errors import CheckpointFormatError, ChecksumError, InputError, WeightsError, WeightsNotFoundError, quoted
from endofm.hub.convert import convert_checkpoint
from endofm.hub.download import DownloadOptions, file_sha256
from endofm.hub.encoder_layout import read_encoder
from endofm.hub.licence import PERMISSIVE, announce
from endofm.hub.mirror import converted_folder, mirrored_folder
from endofm.hub.model_folder import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    matching_config,
    read_config,
    read_folder_config,
)
from endofm.hub.registry import find_record_of_file, find_records_of_repository, get_record, list_models
from endofm.hub.remote import hub_file
from endofm.hub.task_layout import ReadOptions
from endofm.hub.tensor_file import read_tensors, require_finite, unwrapped
from endofm.hub.weight_record import WeightRecord

if TYPE_CHECKING:
    from torch import Tensor

_CHECKPOINT_ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".tar")
PACKAGED = Path(__file__).parents[1] / "weights"
"""Folder of the model folders that ship with this package."""

_LONGEST_PATH, _LONGEST_NAME = 4096, 255
"""Largest number of characters of a path, and of a name in it."""

_HUB_ID = re.compile(r"(?P<repo_id>[\w.-]+/[\w.-]+)(@(?P<revision>[^@\s]+))?", re.ASCII)


@dataclass(frozen=True)
class LoadedWeights:
    """Tensors with their configuration and provenance.

    Attributes:
        config: Architecture and preprocessing.
        state_dict: The model's tensors by name; None for random weights, which are drawn from the record's seed.
        record: Registered record, None for unregistered weights.
        provenance: Strings: ``source`` (as requested), ``record`` (registered name), ``file`` (that was read),
            ``revision`` (commit on the hub), ``sha256`` (of the file), ``license`` (if it does not allow every use),
            each only if it exists.
    """

    config: ModelConfig
    state_dict: dict[str, Tensor] | None
    record: WeightRecord | None
    provenance: dict[str, str]


def load_weights(
    source: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
    num_heads: int | None = None,
) -> LoadedWeights:
    """Find, download, verify and read weights.

    Files are verified by checksum. Whether the tensors are those of the configuration is checked by the model class
    (:func:`~endofm.hub.task_layout.check_tensors`).

    Args:
        source: Registered name, hub repository, model folder, ``.safetensors`` file or published checkpoint, as in the
            table at the top of this module. A :class:`~pathlib.Path` is always a local file or folder.
        revision: Branch, tag or commit of a hub repository.
        cache_dir: Folder of the download cache; huggingface_hub's by default.
        force_download: Download again even if the file is in the cache.
        local_files_only: Use only files on this machine, as with ``HF_HUB_OFFLINE=1``.
        token: Access token of the hub; the stored one by default.
        num_heads: Attention heads per block, for files without a configuration.

    Raises:
        WeightsNotFoundError: If the source does not exist, or is not in the cache while offline.
        DownloadError: If it could not be downloaded.
        ChecksumError: If a file is not the recorded one.
        CheckpointFormatError: If a file is damaged or of no supported layout.
        UnsafeCheckpointError: If a checkpoint holds anything but tensors and plain values.
        StateDictError: If the tensors of a checkpoint are not those of a model.
        ConfigError: If the configuration is not valid.
        InputError: If the arguments contradict one another or the source is ambiguous.

    Warns:
        LicenseWarning: Once for weights whose licence does not allow every use.
    """
    options = DownloadOptions(
        cache_dir=Path(cache_dir).expanduser() if cache_dir is not None else None,
        force_download=force_download,
        local_files_only=local_files_only,
        token=token,
    )
    loaded = _load(source, revision, options, num_heads)
    if loaded.config.license not in PERMISSIVE:
        announce(loaded.config.license, str(source))
        loaded.provenance["license"] = loaded.config.license
    return loaded


def _load(source: str | Path, revision: str | None, options: DownloadOptions, num_heads: int | None) -> LoadedWeights:
    local = _local_path(source)
    if local is not None:
        if revision is not None:
            raise InputError(f"{source} is on this machine; a revision ({quoted(revision)}) exists only on the hub")
        return _load_local(local, str(source), num_heads)
    name = str(source)
    if num_heads is not None:
        raise InputError(f"{name} has a configuration that states its heads; num_heads is for files without one")
    if hub_id := _HUB_ID.fullmatch(name):
        if hub_id["revision"] and revision not in (None, hub_id["revision"]):
            raise InputError(f"{name} names one revision and revision={quoted(revision)} another")
        revision = hub_id["revision"] or revision
        if records := find_records_of_repository(hub_id["repo_id"]):
            # A repository of another project has no configuration of ours; its record has it.
            if len(records) > 1:
                raise InputError(f"{name} holds several weights; load one by its name: {', '.join(records)}")
            return _load_record(get_record(records[0]), revision, options)
        return _load_hub(hub_id["repo_id"], revision or "", name, options)
    return _load_record(get_record(name), revision, options)


def _local_path(source: str | Path) -> Path | None:
    """Return the path that a source denotes, or None if it is a registered name or a hub repository."""
    text = str(source)
    if not text.strip():
        raise InputError("the name of the weights is empty")
    # No system has such paths, and asking it about them raises errors of its own.
    if "\0" in text or len(text) > _LONGEST_PATH or max(map(len, text.split("/"))) > _LONGEST_NAME:
        raise InputError(f"{quoted(text)} is no name of weights and no path")
    if "://" in text:
        raise InputError(
            f"{text} is an address. Give a hub repository as owner/name, or download the file and give its path; your "
            "own server can be registered (endofm.hub.registry.register)"
        )
    path = Path(text).expanduser()
    # A name that could mean two things is refused: which weights are loaded must not depend on the current folder.
    if text in list_models() and not isinstance(source, Path):
        if path.exists():
            raise InputError(
                f"{quoted(text)} is the name of registered weights and of a file or folder here. Write "
                f"'./{text}' for the one here, or call from another folder"
            )
        return None
    # These forms denote a path even if nothing exists there, so that a typing error never reaches the hub.
    explicit = isinstance(source, Path) or text.startswith((".", "/", "~")) or path.is_absolute()
    if explicit or path.exists() or path.suffix in (".safetensors", *_CHECKPOINT_ENDINGS):
        return path
    if "/" in text and not _HUB_ID.fullmatch(text):
        raise WeightsNotFoundError(f"{text}: there is no such file or folder, and it is not the name of a repository")
    return None


def _load_local(path: Path, source: str, num_heads: int | None) -> LoadedWeights:
    if path.is_dir():
        if num_heads is not None:
            raise InputError(f"{path} has a {CONFIG_NAME} that states the attention heads; num_heads cannot change it")
        return _load_files(read_folder_config(path), path / WEIGHTS_NAME, source)
    if not path.is_file():
        siblings = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {path.parent / close[0]}?" if close else ""
        raise WeightsNotFoundError(f"{path}: there is no such file or folder.{hint}")
    if path.suffix == ".safetensors":
        return _load_safetensors(path, source, num_heads)
    if path.suffix in _CHECKPOINT_ENDINGS:
        converted = convert_checkpoint(path, num_heads=num_heads)
        provenance = _provenance(source, record=converted.record, file=path, sha256=converted.sha256)
        return LoadedWeights(converted.config, converted.state_dict, converted.record, provenance)
    raise CheckpointFormatError(f"{path}: a file of weights ends with .safetensors or {', '.join(_CHECKPOINT_ENDINGS)}")


def _load_safetensors(path: Path, source: str, num_heads: int | None) -> LoadedWeights:
    """Read one file. Its configuration is in its header, or in config.json next to it, or inferred from its shapes."""
    neighbour = path.parent / CONFIG_NAME
    config = read_config(path)
    if config is None and neighbour.is_file():
        config = matching_config(neighbour, path)
    if config is not None:
        heads = getattr(config.encoder, "num_heads", None)
        if num_heads not in (None, heads):
            raise InputError(f"{path} has {heads} attention heads, not {num_heads}")
        return _load_files(config, path, source)
    found = read_encoder(read_tensors(path), ReadOptions(num_heads=num_heads, source=str(path)))
    config = ModelConfig(encoder=found.encoder, preprocess=found.preprocess)
    return LoadedWeights(config, found.tensors, None, _provenance(source, file=path, sha256=file_sha256(path)))


def _load_hub(repo_id: str, revision: str, source: str, options: DownloadOptions) -> LoadedWeights:
    # The configuration first: it is small, and a repository without one is refused before the large download.
    config_file = hub_file(repo_id, CONFIG_NAME, revision=revision, options=options)
    # The commit, not the branch: the branch may move between the two downloads.
    weights = hub_file(repo_id, WEIGHTS_NAME, revision=config_file.commit, options=options)
    config = matching_config(config_file.path, weights.path)
    return _load_files(config, weights.path, source, commit=weights.commit, sha256=weights.sha256)


def _load_record(record: WeightRecord, revision: str | None, options: DownloadOptions) -> LoadedWeights:
    if record.random_seed is not None:
        return LoadedWeights(record.config, None, record, _provenance(record.name, record=record))
    if not record.hub_id and revision is not None:
        raise InputError(f"{record.name} is not on the hub, so it has no revision {quoted(revision)}")
    if record.packaged:
        folder = PACKAGED / record.name
        return _load_files(read_folder_config(folder), folder / WEIGHTS_NAME, record.name, record)
    if not record.hub_id:
        return _load_mirrored(record, options)
    try:
        weights = hub_file(record.hub_id, record.filename, revision=revision or record.revision, options=options)
    except (WeightsError, OSError):
        # A mirror holds the recorded weights, not another revision that was requested.
        if revision is not None or not record.mirrors:
            raise
        return _load_mirrored(record, options)
    sha256 = weights.sha256 or file_sha256(weights.path)
    # Another revision that was requested has its own checksum; the record states that of its own revision alone.
    if revision is None and record.sha256 and sha256 != record.sha256:
        raise ChecksumError(
            f"{record.hub_id}/{record.filename} at {weights.commit} has the sha256 {sha256}, but {record.sha256} is "
            f"recorded for {record.name}. It was replaced on the hub; update endofm, or load the repository by its id."
        )
    if not record.filename.endswith(".safetensors"):
        folder = converted_folder(record, weights.path, sha256, options)
        config = read_folder_config(folder)
        return _load_files(config, folder / WEIGHTS_NAME, record.name, record, commit=weights.commit)
    if read_config(weights.path) is None:
        # Written by another program, with the names of its network.
        options_read = ReadOptions(registered=record.config, left_out=record.left_out, source=str(weights.path))
        found = read_encoder(read_tensors(weights.path), options_read)
        provenance = _provenance(record.name, record=record, file=weights.path, revision=weights.commit, sha256=sha256)
        return LoadedWeights(record.config, found.tensors, record, provenance)
    return _load_files(record.config, weights.path, record.name, record, commit=weights.commit, sha256=sha256)


def _load_mirrored(record: WeightRecord, options: DownloadOptions) -> LoadedWeights:
    folder = mirrored_folder(record, options)
    return _load_files(read_folder_config(folder), folder / WEIGHTS_NAME, record.name, record)


def _load_files(
    config: ModelConfig,
    weights: Path,
    source: str,
    record: WeightRecord | None = None,
    *,
    commit: str = "",
    sha256: str = "",
) -> LoadedWeights:
    tensors = unwrapped(read_tensors(weights), str(weights))
    require_finite(tensors, str(weights))
    sha256 = sha256 or file_sha256(weights)
    record = record or find_record_of_file(sha256) or _converted_from(config)
    provenance = _provenance(source, record=record, file=weights, revision=commit, sha256=sha256)
    return LoadedWeights(config, tensors, record, provenance)


def _converted_from(config: ModelConfig) -> WeightRecord | None:
    """Return the record of the published file that a configuration states it was converted from."""
    # Weights that were trained further keep the checksum of their origin but have another name.
    record = find_record_of_file(config.source_sha256)
    return record if record and record.name == config.name else None


def _provenance(
    source: str,
    *,
    record: WeightRecord | None = None,
    file: Path | None = None,
    revision: str = "",
    sha256: str = "",
) -> dict[str, str]:
    values = {
        "source": source,
        "record": record.name if record else "",
        "file": str(file.absolute()) if file else "",
        "revision": revision,
        "sha256": sha256,
    }
    return {key: value for key, value in values.items() if value}
