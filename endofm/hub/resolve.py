"""From what a user names to tensors and their configuration, without guessing.

============================================  ===================================================================
``load_weights(...)``                         means
============================================  ===================================================================
``"endofm-base-8x224"``                       registered weights (``endofm models`` lists them)
``"owner/name"``, ``"owner/name@revision"``   a repository of the hub
``"some/folder"``, ``"./folder"``             a model folder, if it exists; a path that begins with ``.``, ``/`` or
                                              ``~`` is never taken for anything else
``"model.safetensors"``                       one weights file
``"endo_fm.pth"``                             an original checkpoint
============================================  ===================================================================
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.config import ModelConfig
from endofm.errors import CheckpointFormatError, ChecksumError, InputError, WeightsError, WeightsNotFoundError
from endofm.hub.checkpoint import find_encoder
from endofm.hub.checksum import file_sha256
from endofm.hub.convert import convert_checkpoint
from endofm.hub.encoder_tensors import default_preprocess, read_encoder_config
from endofm.hub.folder import CONFIG_NAME, WEIGHTS_NAME, matching_config, read_folder_config
from endofm.hub.layout import hub_task
from endofm.hub.mirror import mirrored_folder
from endofm.hub.registry import WeightRecord, find_record_of_file, get_record, list_models
from endofm.hub.remote import hub_file
from endofm.hub.tensors import read_config, read_tensors
from endofm.hub.transfer import DownloadOptions

if TYPE_CHECKING:
    from torch import Tensor

_CHECKPOINT_ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".tar")
PACKAGED = Path(__file__).parents[1] / "weights"
"""Model folders that are part of this package."""

_HUB_ID = re.compile(r"(?P<repo_id>[\w.-]+/[\w.-]+)(@(?P<revision>[^@\s]+))?", re.ASCII)


@dataclass(frozen=True)
class LoadedWeights:
    """Tensors with everything that is known about where they come from.

    Attributes:
        config: Architecture and preprocessing.
        state_dict: The model's tensors by name; None for random encoders, which are made from the record's seed.
        record: Registered record, None for weights of one's own.
        provenance: Plain texts: ``source`` (what was asked for), ``record`` (registered name), ``file`` (what was
            read), ``revision`` (commit on the hub), ``sha256`` (of the file), each only where there is one.
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
    """Find, fetch, check and read weights.

    Args:
        source: Registered name, hub repository, model folder, ``.safetensors`` file or original checkpoint; the
            module's table says which is which. A :class:`~pathlib.Path` is always a local file or folder.
        revision: Branch, tag or commit of a hub repository.
        cache_dir: Folder of the download cache; huggingface_hub's by default.
        force_download: Fetch again what is in the cache.
        local_files_only: Use only what is on this machine, as ``HF_HUB_OFFLINE=1`` does.
        token: Access token of the hub; the stored one by default.
        num_heads: Attention heads per block, for files that come without a configuration.

    Raises:
        WeightsNotFoundError: If there is nothing of this name, or it is not in the cache while offline.
        DownloadError: If it could not be fetched.
        ChecksumError: If a file is not the recorded one.
        CheckpointFormatError: If a file is damaged or of no known layout.
        UnsafeCheckpointError: If a checkpoint holds anything but tensors and plain values.
        StateDictError: If the tensors do not fit the configuration exactly.
        ConfigError: If the configuration is not valid.
        InputError: If the arguments contradict one another or the source is ambiguous.
    """
    options = DownloadOptions(
        cache_dir=Path(cache_dir).expanduser() if cache_dir is not None else None,
        force_download=force_download,
        local_files_only=local_files_only,
        token=token,
    )
    local = _local_path(source)
    if local is not None:
        if revision is not None:
            raise InputError(f"{source} is on this machine; a revision ({revision!r}) exists only on the hub")
        return _load_local(local, str(source), num_heads)
    name = str(source)
    if num_heads is not None:
        raise InputError(f"{name} states its number of attention heads; num_heads is for files that do not")
    if hub_id := _HUB_ID.fullmatch(name):
        if hub_id["revision"] and revision not in (None, hub_id["revision"]):
            raise InputError(f"{name} names one revision and revision={revision!r} another")
        return _load_hub(hub_id["repo_id"], hub_id["revision"] or revision or "", name, options)
    return _load_record(get_record(name), revision, options)


def _local_path(source: str | Path) -> Path | None:
    """Return the path that a source means, or None if it is a registered name or a hub repository."""
    text = str(source)
    if not text.strip():
        raise InputError("the name of the weights is empty")
    if "://" in text:
        raise InputError(
            f"{text} is an address. Give a hub repository as owner/name, or fetch the file and give its path; a server "
            "of your own can be registered (endofm.hub.registry.register)"
        )
    path = Path(text).expanduser()
    if text in list_models() and not isinstance(source, Path):
        if path.exists():
            raise InputError(
                f"{text!r} is the name of registered weights and of a file or folder here. Write "
                f"'./{text}' for the one here, or call from another folder"
            )
        return None
    certain = isinstance(source, Path) or text.startswith((".", "/", "~")) or path.is_absolute()
    if certain or path.exists() or path.suffix in (".safetensors", *_CHECKPOINT_ENDINGS):
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
        found = convert_checkpoint(path, num_heads=num_heads)
        provenance = _provenance(source, record=found.record, file=path, sha256=found.sha256)
        return LoadedWeights(found.config, found.state_dict, found.record, provenance)
    raise CheckpointFormatError(f"{path}: a file of weights ends with .safetensors or {', '.join(_CHECKPOINT_ENDINGS)}")


def _load_safetensors(path: Path, source: str, num_heads: int | None) -> LoadedWeights:
    """Read one file; its configuration is in its header, else in the config.json beside it, else in its shapes."""
    neighbour = path.parent / CONFIG_NAME
    config = read_config(path)
    if config is None and neighbour.is_file():
        config = matching_config(neighbour, path)
    if config is not None:
        if num_heads not in (None, config.encoder.num_heads):
            raise InputError(f"{path} has {config.encoder.num_heads} attention heads, not {num_heads}")
        return _load_files(config, path, source)
    tensors = find_encoder(read_tensors(path), where=str(path)).tensors
    encoder = read_encoder_config(tensors, num_heads=num_heads, where=str(path))
    config = ModelConfig(encoder=encoder, preprocess=default_preprocess(encoder))
    return LoadedWeights(config, tensors, None, _provenance(source, file=path, sha256=file_sha256(path)))


def _load_hub(repo_id: str, revision: str, source: str, options: DownloadOptions) -> LoadedWeights:
    config_file = hub_file(repo_id, CONFIG_NAME, revision=revision, options=options)
    # The commit, not the branch, which may move between the two files.
    weights = hub_file(repo_id, WEIGHTS_NAME, revision=config_file.commit, options=options)
    config = matching_config(config_file.path, weights.path)
    return _load_files(config, weights.path, source, commit=weights.commit, sha256=weights.sha256)


def _load_record(record: WeightRecord, revision: str | None, options: DownloadOptions) -> LoadedWeights:
    if record.random_seed is not None:
        return LoadedWeights(record.config, None, record, _provenance(record.name, record=record))
    if not record.hub_id and revision is not None:
        raise InputError(f"{record.name} is not on the hub, so it has no revision {revision!r}")
    if record.packaged:
        folder = PACKAGED / record.name
        return _load_files(read_folder_config(folder), folder / WEIGHTS_NAME, record.name, record)
    if not record.hub_id:
        return _load_mirrored(record, options)
    try:
        weights = hub_file(record.hub_id, record.filename, revision=revision or record.revision, options=options)
    except (WeightsError, OSError):
        if revision is not None or not record.mirrors:
            raise
        return _load_mirrored(record, options)
    sha256 = weights.sha256 or file_sha256(weights.path)
    if revision is None and record.sha256 and sha256 != record.sha256:
        raise ChecksumError(
            f"{record.hub_id}/{record.filename} at {weights.commit} has the sha256 {sha256}, but {record.sha256} is "
            f"recorded for {record.name}. It was replaced on the hub; update endofm, or name the repository itself."
        )
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
    tensors = read_tensors(weights)
    hub_task(config.task).check(config, tensors, where=str(weights))
    sha256 = sha256 or file_sha256(weights)
    record = record or find_record_of_file(sha256) or _converted_from(config)
    provenance = _provenance(source, record=record, file=weights, revision=commit, sha256=sha256)
    return LoadedWeights(config, tensors, record, provenance)


def _converted_from(config: ModelConfig) -> WeightRecord | None:
    """Return the record whose original file a configuration says it was converted from."""
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
