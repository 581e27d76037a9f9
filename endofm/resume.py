"""Resuming long jobs: one process fills an output folder with one set of settings.

Extraction, preparation of data sets, rendering, fine-tuning over seeds and training share three parts:

- :func:`exclusive` locks the folder, so that two processes never fill it at once (for object storage see
  :mod:`endofm.output_place`);
- :func:`require_same_settings` refuses a folder that an earlier run filled with other settings;
- :func:`file_state` detects whether a source has changed since its result was written.

Each job defines what counts as done: a manifest row, a clip's record, a checkpoint. All of them are written to a
temporary name and renamed (:mod:`endofm.files`), so that an interrupted job loses at most the item in progress.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from endofm.address import Address
from endofm.errors import InputError, JobError, quoted
from endofm.files import remove_partial

LOCK_NAME = ".endofm-lock"
"""Name of the empty lock file in an output folder."""

MANIFEST_NAME = "manifest.json"
"""Name of the manifest in an output folder of a job over many videos; see :func:`manifest_name`."""


def manifest_name(folder: object) -> str:
    """Return the name of the manifest of a job over many videos.

    Args:
        folder: The output folder, as anything whose string ends in its name. Everything in a Parquet data set
            (``x.parquet``) that is no part of the table is hidden from those who read it.
    """
    return f".{MANIFEST_NAME}" if str(folder).rstrip("/\\").endswith(".parquet") else MANIFEST_NAME


@contextmanager
def exclusive(folder: str | Path) -> Iterator[None]:
    """Create an output folder if it is missing, and hold its lock.

    The operating system releases the lock when the process ends in any way. Incomplete files of a killed process are
    removed, in all folders below.

    Args:
        folder: The output folder.

    Raises:
        InputError: If the folder cannot be created.
        JobError: If another process is writing to it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: this folder cannot be created ({error.strerror or error})") from error
    with ExitStack() as stack:
        try:
            # The empty lock file stays: another process may be waiting on it, and would then lock a deleted file.
            stack.enter_context(only_holder(folder / LOCK_NAME))
        except TimeoutError as error:
            raise JobError(
                f"{folder}: another process is writing to this folder; wait for it to finish or choose another folder"
            ) from error
        except OSError as error:
            raise InputError(f"{folder}: this folder cannot be written to ({error.strerror or error})") from error
        remove_partial(folder, below=True)
        yield


@contextmanager
def only_holder(lock: Path) -> Iterator[None]:
    """Hold a lock file, which the operating system releases when the process ends in any way.

    Raises:
        TimeoutError: If another process holds it.
        OSError: If it cannot be created.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported without __all__

    with WeakFileLock(lock, timeout=1.0):
        yield


def require_same_settings(
    folder: str | Path, stored: Mapping[str, Any], requested: Mapping[str, Any], *, remedy: str
) -> None:
    """Raise unless an output folder was filled with the settings that are requested now.

    Args:
        folder: The output folder, for the message.
        stored: Settings of the earlier run, as read from JSON or YAML.
        requested: Settings of this run. They are compared as JSON, so that tuples equal lists.
        remedy: Alternative, the end of a sentence that begins "choose another folder, or".

    Raises:
        JobError: Naming every setting that differs, with its old and its new value.
    """
    old, new = dict(_flatten(stored)), dict(_flatten(json.loads(json.dumps(dict(requested)))))
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if changed:
        differences = "; ".join(
            f"{key} was {quoted(old.get(key))} and is now {quoted(new.get(key))}" for key in changed
        )
        raise JobError(
            f"{folder} holds the results of other settings ({differences}); choose another folder, or {remedy}"
        )


def file_state(path: Path | Address, *, anew: bool = False) -> tuple[int, int]:
    """Return size and modification time of a source, which differ after a change.

    Args:
        path: The source.
        anew: Ask the store of an address again, which may have listed the object long ago.

    Returns:
        Size in bytes (-1 for a folder or a missing file) and time of the last change in nanoseconds (0 if missing).
    """
    try:
        state = (Address(path.url) if anew and isinstance(path, Address) else path).stat()
    except OSError:
        return -1, 0
    return state.st_size if path.is_file() else -1, state.st_mtime_ns


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings by their dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
