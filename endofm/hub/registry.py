"""Registered weights by name.

The package's own are in :mod:`endofm.tasks.weight_table`. A site that keeps the files on its own server registers a
record that names it::

    from dataclasses import replace
    from endofm.hub.registry import get_record, register
    from endofm.hub.weight_record import Mirror

    record = get_record("endofm-base-8x224")
    ours = Mirror(url="https://files.example.org/endo_fm.pth", sha256=record.mirrors[0].sha256, layout="checkpoint")
    register(replace(record, mirrors=(ours, *record.mirrors)), overwrite=True)
"""

from __future__ import annotations

import difflib
import importlib

from endofm.errors import ConfigError, WeightsNotFoundError, quoted
from endofm.hub.weight_record import WeightRecord

_TABLE = "endofm.tasks.weight_table"
"""Module of the package's own records, imported by name: they use configurations of the tasks, which are above."""

_TIMM = "timm:"
"""Beginning of the names whose records are made from timm's descriptions, by :mod:`endofm.tasks.timm_record`."""

_REGISTRY: dict[str, WeightRecord] = {}


def register(record: WeightRecord, *, overwrite: bool = False) -> None:
    """Add a record to the registry of this process.

    Args:
        record: The record.
        overwrite: Replace a record of the same name.

    Raises:
        ConfigError: If the name is taken and ``overwrite`` is false.
    """
    records = _records()
    if record.name in records and not overwrite:
        raise ConfigError(
            f"weights named {quoted(record.name)} are registered already; pass overwrite=True to replace them"
        )
    records[record.name] = record


def list_models() -> list[str]:
    """Return the names of all registered weights."""
    return list(_records())


def get_record(name: str) -> WeightRecord:
    """Return the record of a registered name.

    Raises:
        WeightsNotFoundError: If no weights of this name are registered; the message names similar ones.
    """
    if name.startswith(_TIMM):
        return _made(name)
    records = _records()
    if name not in records:
        # A part of a name first ("nano"). Below the usual cutoff of 0.6 after that: names are long, and a guess that
        # is wrong costs the reader little.
        word = name.lower()
        parts = [known for known in records if word in known.split("-")][:3]
        close = parts or difflib.get_close_matches(word, records, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"Registered names: {', '.join(records)}."
        raise WeightsNotFoundError(
            f"there are no weights named {quoted(name)}. {hint} A hub repository is written owner/name, a folder "
            "here ./name."
        )
    return records[name]


def find_record(name: str) -> WeightRecord | None:
    """Return the record of a registered name or of a network of timm, or None for any other string."""
    return _made(name) if name.startswith(_TIMM) else _records().get(name)


def find_record_of_file(sha256: str) -> WeightRecord | None:
    """Return the record that a file with this sha256 belongs to, or None."""
    for record in _records().values():
        if sha256 and sha256 in (record.sha256, *(mirror.sha256 for mirror in record.mirrors)):
            return record
    return None


def find_records_of_repository(repo_id: str) -> list[str]:
    """Return the names of the weights of other projects in a repository of the hub."""
    return [name for name, record in _records().items() if record.family and record.hub_id == repo_id]


def _made(name: str) -> WeightRecord:
    record: WeightRecord = importlib.import_module("endofm.tasks.timm_record").timm_record(name)
    return record


def _records() -> dict[str, WeightRecord]:
    # On first use, so that importing the registry imports no task.
    if not _REGISTRY:
        _REGISTRY.update({record.name: record for record in importlib.import_module(_TABLE).RECORDS})
    return _REGISTRY
