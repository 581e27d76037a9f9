"""One record per weight: where it is, what it was trained on, and what it is worth.

Loading, ``endofm models``, the model card and the documentation all read these records. A site that keeps the files
on a server of its own registers a record that says so::

    from dataclasses import replace
    from endofm.hub.registry import Mirror, get_record, register

    record = get_record("endofm-base-8x224")
    ours = Mirror(url="https://files.example.org/endo_fm.pth", sha256=record.mirrors[0].sha256, layout="checkpoint")
    register(replace(record, mirrors=(ours, *record.mirrors)), overwrite=True)
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Literal

from endofm.config import ModelConfig
from endofm.errors import ConfigError, WeightsNotFoundError
from endofm.hub.state_dict import count_parameters

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _require_sha256(value: str, what: str) -> None:
    if not _SHA256.fullmatch(value):
        raise ConfigError(f"{what} must be 64 hexadecimal digits in lower case, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A place outside the hub where a weight's file can be had.

    Attributes:
        sha256: sha256 of the file. A download that has another one is refused.
        layout: ``"safetensors"`` for a file of this package, ``"checkpoint"`` for an original ``.pth``, which is
            converted once after the download.
        url: Address that answers with the file itself; empty if only a browser can get it.
        page: Address to open in a browser.
        filename: Name of the file there.
        status: What is known about the place being alive, and since when.
    """

    sha256: str
    layout: Literal["safetensors", "checkpoint"]
    url: str = ""
    page: str = ""
    filename: str = ""
    status: str = ""

    def __post_init__(self) -> None:
        _require_sha256(self.sha256, "Mirror.sha256")
        if self.layout not in ("safetensors", "checkpoint"):
            raise ConfigError(f"Mirror.layout must be 'safetensors' or 'checkpoint', got {self.layout!r}")
        if not self.url and not self.page:
            raise ConfigError("a Mirror needs a url (answers with the file) or a page (for a browser)")
        for address in (self.url, self.page):
            if address and not address.startswith(("https://", "http://")):
                raise ConfigError(f"a Mirror's address must begin with https:// or http://, got {address!r}")


@dataclass(frozen=True, kw_only=True)
class Score:
    """A reported number.

    Attributes:
        dataset: Data set that it was measured on.
        task: What was done there.
        metric: Name of the metric.
        value: The number, in the metric's usual unit.
        source: Who reported it.
    """

    dataset: str
    task: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class WeightRecord:
    """Everything that is known about one weight.

    Attributes:
        name: Name that users type, lower case without slashes.
        description: One sentence for tables.
        config: Architecture and preprocessing.
        hub_id: ``owner/name`` on the Hugging Face hub; empty if it is not there.
        revision: Commit of the hub repository that is loaded, empty for its newest.
        filename: Name of the weights file on the hub.
        sha256: sha256 of that file, empty if not known.
        mirrors: Other places, tried in order.
        packaged: Whether the model folder is part of this package, in ``endofm/weights``; nothing is downloaded then.
        license: Licence identifier of the weights, empty if not stated.
        license_note: What the licence statement rests on.
        datasets: Data sets that it was trained on.
        datasets_held_out: Data sets that were kept out of training, by the authors' word.
        overlaps: Data sets of published scores that share material with the training data.
        scores: Reported numbers.
        random_seed: Seed of a random encoder; None for trained weights.
        paper: Address of the paper.
        notes: Further statements for the model card.
    """

    name: str
    description: str
    config: ModelConfig
    hub_id: str = ""
    revision: str = ""
    filename: str = "model.safetensors"
    sha256: str = ""
    mirrors: tuple[Mirror, ...] = ()
    packaged: bool = False
    license: str = ""
    license_note: str = ""
    datasets: tuple[str, ...] = ()
    datasets_held_out: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    random_seed: int | None = None
    paper: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"WeightRecord.name may hold lower-case letters, digits, '.', '_' and '-', got {self.name!r}"
            )
        if self.sha256:
            _require_sha256(self.sha256, "WeightRecord.sha256")
        if (self.random_seed is None) == (not self.hub_id and not self.mirrors and not self.packaged):
            raise ConfigError(
                f"WeightRecord {self.name!r}: give a random_seed, or else a hub_id, mirrors or the package that hold "
                "the file"
            )
        if self.config.trained == (self.random_seed is not None):
            raise ConfigError(f"WeightRecord {self.name!r}: config.trained must be false exactly for random weights")

    @property
    def task(self) -> str:
        """What the model gives: ``"features"`` for encoders, otherwise the task of its head."""
        return self.config.task

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the encoder."""
        return count_parameters(self.config.encoder)


_REGISTRY: dict[str, WeightRecord] = {}


def register(record: WeightRecord, *, overwrite: bool = False) -> None:
    """Make a weight known by its name in this process.

    Args:
        record: The record.
        overwrite: Replace a record of the same name.

    Raises:
        ConfigError: If the name is taken and ``overwrite`` is false.
    """
    records = _records()
    if record.name in records and not overwrite:
        raise ConfigError(f"weights named {record.name!r} are registered already; pass overwrite=True to replace them")
    records[record.name] = record


def list_models() -> list[str]:
    """Return the names of all registered weights."""
    return list(_records())


def get_record(name: str) -> WeightRecord:
    """Return the record of a registered name.

    Raises:
        WeightsNotFoundError: If no weights of this name are registered; the message names similar ones.
    """
    records = _records()
    if name not in records:
        close = difflib.get_close_matches(name, records, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"Known names: {', '.join(records)}."
        raise WeightsNotFoundError(
            f"there are no weights named {name!r}. {hint} A hub repository is written owner/name, a folder here ./name."
        )
    return records[name]


def find_record(name: str) -> WeightRecord | None:
    """Return the record of a registered name, or None for any other text."""
    return _records().get(name)


def find_record_of_file(sha256: str) -> WeightRecord | None:
    """Return the record that a file with this sha256 belongs to, or None."""
    for record in _records().values():
        if sha256 and sha256 in (record.sha256, *(mirror.sha256 for mirror in record.mirrors)):
            return record
    return None


def _records() -> dict[str, WeightRecord]:
    if not _REGISTRY:
        from endofm.hub.records import RECORDS

        _REGISTRY.update({record.name: record for record in RECORDS})
    return _REGISTRY
