"""Weights from places outside the hub: fetched once, converted if they are an original checkpoint, kept in the cache.

An entry of this cache is a model folder plus a checksum file that ``sha256sum -c`` reads. It lies in huggingface_hub's
folder for other libraries' assets, or in the ``cache_dir`` given.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants

from endofm.errors import (
    ChecksumError,
    DownloadError,
    InputError,
    WeightsError,
    WeightsNotFoundError,
)
from endofm.files import atomic_path
from endofm.hub.checksum import file_sha256, require_sha256
from endofm.hub.convert import convert_checkpoint
from endofm.hub.folder import WEIGHTS_NAME, save_folder
from endofm.hub.layout import hub_task
from endofm.hub.registry import Mirror, WeightRecord
from endofm.hub.tensors import read_tensors
from endofm.hub.transfer import DownloadOptions, fetch, file_lock

_CHECKSUM_NAME = f"{WEIGHTS_NAME}.sha256"


def mirrored_folder(record: WeightRecord, options: DownloadOptions) -> Path:
    """Return a model folder with a record's weights, from the cache or the first mirror that gives the right file.

    Args:
        record: A record with mirrors.
        options: Cache and network.

    Raises:
        WeightsNotFoundError: If nothing is in the cache, and downloads are off or only a browser can fetch the file.
        DownloadError: If no mirror gave the file.
        ChecksumError: If the only mirror gave a wrong file, or the cache is damaged and downloads are off.
    """
    failures: list[WeightsError] = []
    for mirror in record.mirrors:
        entry = _entry(record, mirror, options)
        if not options.force_download and _is_intact(entry):
            return entry
        if options.offline and entry.exists():
            failures.append(ChecksumError(f"{entry} is damaged"))
    if options.offline:
        damaged = "".join(f"{failure}. " for failure in failures)
        raise WeightsNotFoundError(
            f"{damaged}{record.name} is not in the cache, and downloads are off (local_files_only or HF_HUB_OFFLINE). "
            f"Run `endofm download {record.name}` where there is a network, and copy the cache."
        )
    for mirror in record.mirrors:
        if mirror.url:
            try:
                return _fetch(record, mirror, options)
            except (DownloadError, ChecksumError) as error:
                failures.append(error)
    if len(failures) == 1 and not any(mirror.page for mirror in record.mirrors):
        raise failures[0]
    raise _by_hand(record, failures) from (failures[-1] if failures else None)


def install_file(record: WeightRecord, file: str | Path, options: DownloadOptions) -> Path:
    """Put a file that was fetched by hand into the cache, so that the record's name works from then on.

    Args:
        record: A record with mirrors.
        file: The file as one of the mirrors has it.
        options: Which cache.

    Returns:
        The model folder in the cache.

    Raises:
        WeightsNotFoundError: If there is no such file.
        ChecksumError: If it is not the file of any of the mirrors.
    """
    file = Path(file)
    if not file.is_file():
        raise WeightsNotFoundError(f"{file}: there is no such file")
    if not record.mirrors:
        raise InputError(f"{record.name} is not distributed as a file to be fetched by hand")
    sha256 = file_sha256(file)
    for mirror in record.mirrors:
        if mirror.sha256 == sha256:
            entry = _entry(record, mirror, options)
            with file_lock(_beside(entry, ".lock")):
                _install(record, mirror, file, entry)
            return entry
    require_sha256(file, record.mirrors[0].sha256, what=str(file))
    raise AssertionError("unreachable: the checksum differs")


def _entry(record: WeightRecord, mirror: Mirror, options: DownloadOptions) -> Path:
    cache = Path(options.cache_dir or constants.HF_ASSETS_CACHE)
    return cache / "endofm" / f"{record.name}-{mirror.sha256[:16]}"


def _beside(entry: Path, ending: str) -> Path:
    return entry.with_name(entry.name + ending)


def _is_intact(entry: Path) -> bool:
    try:
        expected = (entry / _CHECKSUM_NAME).read_text(encoding="ascii").split()[0]
        return file_sha256(entry / WEIGHTS_NAME) == expected
    except (OSError, ValueError, IndexError):
        return False


def _fetch(record: WeightRecord, mirror: Mirror, options: DownloadOptions) -> Path:
    entry = _entry(record, mirror, options)
    with file_lock(_beside(entry, ".lock")):
        if not options.force_download and _is_intact(entry):  # another process was faster
            return entry
        file = _beside(entry, ".download")
        fetch(
            mirror.url,
            file,
            check=lambda path: require_sha256(path, mirror.sha256, what=mirror.url),
            label=mirror.filename or record.name,
        )
        _install(record, mirror, file, entry)
        file.unlink()
    return entry


def _install(record: WeightRecord, mirror: Mirror, file: Path, entry: Path) -> None:
    """Write the cache entry; its checksum file comes last and makes it valid."""
    shutil.rmtree(entry, ignore_errors=True)
    state_dict = convert_checkpoint(file).state_dict if mirror.layout == "checkpoint" else read_tensors(file)
    where = mirror.url or str(file)
    hub_task(record.config.task).check(record.config, state_dict, where=where)
    config = replace(record.config, source_sha256=mirror.sha256)
    save_folder(entry, config=config, state_dict=state_dict, record=record)
    with atomic_path(entry / _CHECKSUM_NAME) as temporary:
        temporary.write_text(f"{file_sha256(entry / WEIGHTS_NAME)}  {WEIGHTS_NAME}\n", encoding="ascii")


def _by_hand(record: WeightRecord, failures: Sequence[WeightsError]) -> WeightsError:
    """Explain how to fetch the file with a browser."""
    tried = "".join(f"\n  tried: {failure}" for failure in failures)
    pages = "".join(f"\n  {mirror.page}\n    {mirror.status}" for mirror in record.mirrors if mirror.page)
    name = next((mirror.filename for mirror in record.mirrors if mirror.filename), "FILE")
    message = (
        f"the weights {record.name} could not be fetched.{tried}\n"
        f"Fetch {name} with a browser from one of{pages}\n"
        f"and then run\n  endofm download {record.name} --from {name}\n"
        "which checks it, converts it and keeps it in the cache, so that the name works from then on."
    )
    return DownloadError(message) if failures else WeightsNotFoundError(message)
