"""Weights from locations outside the hub: downloaded once, converted if published as a checkpoint, and cached.

An entry of this cache is a model folder with a checksum file that ``sha256sum -c`` reads. The cache is in
huggingface_hub's folder for other libraries' assets, or in the given ``cache_dir``.
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
from endofm.hub.convert import convert_checkpoint
from endofm.hub.download import DownloadOptions, fetch, file_lock, file_sha256, require_sha256
from endofm.hub.model_folder import WEIGHTS_NAME, save_folder
from endofm.hub.task_layout import check_tensors
from endofm.hub.tensor_file import read_tensors
from endofm.hub.weight_record import Mirror, WeightRecord

_CHECKSUM_NAME = f"{WEIGHTS_NAME}.sha256"


def mirrored_folder(record: WeightRecord, options: DownloadOptions) -> Path:
    """Return a model folder with a record's weights, from the cache or the first mirror that has the right file.

    Args:
        record: A record with mirrors.
        options: Cache and network.

    Raises:
        WeightsNotFoundError: If nothing is in the cache, and downloads are off or need a browser.
        DownloadError: If no mirror provided the file.
        ChecksumError: If the only mirror provided a wrong file, or the cache is damaged and downloads are off.
    """
    # The cache comes first for every mirror, so that a second mirror's entry spares the first one's download.
    failures: list[WeightsError] = []
    for mirror in record.mirrors:
        sha256 = mirror.sha256 or pinned_sha256(record, options)
        if not sha256:
            continue  # the first file decides which one it is
        entry = _entry(record, sha256, options)
        if not options.force_download and _is_intact(entry):
            return entry
        if options.offline and entry.exists():
            failures.append(ChecksumError(f"{entry} is damaged"))
    if options.offline:
        damaged = "".join(f"{failure}. " for failure in failures)
        raise WeightsNotFoundError(
            f"{damaged}{record.name} is not in the cache, and downloads are off (local_files_only or HF_HUB_OFFLINE). "
            f"Run `endofm download {record.name}` on a machine with a network, and copy its cache."
        )
    for mirror in record.mirrors:
        if mirror.url:
            try:
                return _fetch(record, mirror, options)
            except (DownloadError, ChecksumError) as error:
                failures.append(error)
    if len(failures) == 1 and not any(mirror.page for mirror in record.mirrors):
        raise failures[0]
    raise _browser_needed(record, failures) from (failures[-1] if failures else None)


def install_file(record: WeightRecord, file: str | Path, options: DownloadOptions) -> Path:
    """Add a file that was downloaded with a browser to the cache, so that the record's name loads from then on.

    Args:
        record: A record with mirrors.
        file: The downloaded file.
        options: Cache to use.

    Returns:
        The model folder in the cache.

    Raises:
        WeightsNotFoundError: If the file does not exist.
        InputError: If the record has no mirrors.
        ChecksumError: If it is not the file of any mirror.
    """
    file = Path(file)
    if not file.is_file():
        raise WeightsNotFoundError(f"{file}: there is no such file")
    if not record.mirrors:
        raise InputError(f"{record.name} has no file to download with a browser")
    sha256 = file_sha256(file)
    for mirror in record.mirrors:
        if mirror.sha256 in ("", sha256):
            entry = _entry(record, sha256, options)
            with file_lock(_sibling(entry, ".lock")):
                if not mirror.sha256:
                    _require_pinned(record, sha256, options)
                _install(record, mirror.layout, file, entry, sha256)
                if not mirror.sha256:
                    _pin(record, sha256, options)
            return entry
    # No mirror has this file; this raises the error that names the expected checksum.
    require_sha256(file, record.mirrors[0].sha256, source=str(file))
    raise AssertionError("unreachable: the checksum differs")


def converted_folder(record: WeightRecord, file: Path, sha256: str, options: DownloadOptions) -> Path:
    """Return a model folder with a record's published checkpoint from the hub, which is converted on first use.

    Args:
        record: A record whose file on the hub is a checkpoint.
        file: That file in the hub's cache.
        sha256: Its sha256.
        options: Cache to use.

    Raises:
        ChecksumError: If the record states no checksum, and an earlier file had another one.
    """
    entry = _entry(record, sha256, options)
    with file_lock(_sibling(entry, ".lock")):
        if not record.sha256:
            _require_pinned(record, sha256, options)
        if not _is_intact(entry):
            _install(record, "checkpoint", file, entry, sha256)
        if not record.sha256:
            _pin(record, sha256, options)
    return entry


def pinned_sha256(record: WeightRecord, options: DownloadOptions) -> str:
    """Return the sha256 of the first file that a record without a checksum was loaded from here; empty if none was."""
    try:
        return _pin_file(record, options).read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError):
        return ""


def _require_pinned(record: WeightRecord, sha256: str, options: DownloadOptions) -> None:
    pinned = pinned_sha256(record, options)
    if pinned not in ("", sha256):
        raise ChecksumError(
            f"the file has the sha256 {sha256}, but the first file of {record.name} on this machine had {pinned}. No "
            f"checksum is published for it. To take the new file, remove {_pin_file(record, options)}"
        )


def _pin(record: WeightRecord, sha256: str, options: DownloadOptions) -> None:
    with atomic_path(_pin_file(record, options)) as temporary:
        temporary.write_text(f"{sha256}\n", encoding="ascii")


def _pin_file(record: WeightRecord, options: DownloadOptions) -> Path:
    return _cache(options) / f"{record.name}.pinned"


def _cache(options: DownloadOptions) -> Path:
    return Path(options.cache_dir or constants.HF_ASSETS_CACHE) / "endofm"


def _entry(record: WeightRecord, sha256: str, options: DownloadOptions) -> Path:
    # The checksum in the name keeps the entries of different versions apart.
    return _cache(options) / f"{record.name}-{sha256[:16]}"


def _sibling(entry: Path, ending: str) -> Path:
    return entry.with_name(entry.name + ending)


def _is_intact(entry: Path) -> bool:
    try:
        expected = (entry / _CHECKSUM_NAME).read_text(encoding="ascii").split()[0]
        return file_sha256(entry / WEIGHTS_NAME) == expected
    except (OSError, ValueError, IndexError):
        return False


def _fetch(record: WeightRecord, mirror: Mirror, options: DownloadOptions) -> Path:
    if not mirror.sha256:
        # Nothing would verify a file from an address outside the hub.
        raise DownloadError(f"{mirror.url}: no checksum is known for this file; download it with a browser")
    entry = _entry(record, mirror.sha256, options)
    with file_lock(_sibling(entry, ".lock")):
        if not options.force_download and _is_intact(entry):
            return entry  # another process downloaded it while this one waited for the lock
        file = _sibling(entry, ".download")
        fetch(
            mirror.url,
            file,
            check=lambda path: require_sha256(path, mirror.sha256, source=mirror.url),
            label=mirror.filename or record.name,
        )
        _install(record, mirror.layout, file, entry, mirror.sha256)
        file.unlink()
    return entry


def _install(record: WeightRecord, layout: str, file: Path, entry: Path, sha256: str) -> None:
    """Write the cache entry. The checksum file is written last and makes the entry valid."""
    shutil.rmtree(entry, ignore_errors=True)
    convert = layout == "checkpoint"
    state_dict = convert_checkpoint(file, record=record).state_dict if convert else read_tensors(file)
    check_tensors(record.config, state_dict, source=str(file))
    config = replace(record.config, source_sha256=sha256)
    save_folder(entry, config=config, state_dict=state_dict, record=record)
    with atomic_path(entry / _CHECKSUM_NAME) as temporary:
        temporary.write_text(f"{file_sha256(entry / WEIGHTS_NAME)}  {WEIGHTS_NAME}\n", encoding="ascii")


def _browser_needed(record: WeightRecord, failures: Sequence[WeightsError]) -> WeightsError:
    """Return the error that explains how to download the file with a browser."""
    tried = "".join(f"\n  tried: {failure}" for failure in failures)
    pages = "".join(f"\n  {mirror.page}\n    {mirror.status}" for mirror in record.mirrors if mirror.page)
    name = next((mirror.filename for mirror in record.mirrors if mirror.filename), "FILE")
    message = (
        f"the weights {record.name} could not be downloaded.{tried}\n"
        f"Download {name} with a browser from one of{pages}\n"
        f"and then run\n  endofm download {record.name} --from {name}\n"
        "which verifies it, converts it and adds it to the cache; the name then loads without a network."
    )
    return DownloadError(message) if failures else WeightsNotFoundError(message)
