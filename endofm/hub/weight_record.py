"""The record of a weight: where its file is, what it was trained on, and its scores.

Loading, ``endofm models``, the model card and the documentation all read these records.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from endofm.config import ModelConfig
from endofm.errors import ConfigError, quoted
from endofm.hub.task_layout import count_parameters

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _require_sha256(value: str, what: str) -> None:
    if not _SHA256.fullmatch(value):
        raise ConfigError(f"{what} must be 64 hexadecimal digits in lower case, got {quoted(value)}")


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """An alternative download location for a weights file, outside the hub.

    Attributes:
        sha256: sha256 of the file. A download that has another one is refused. Empty if it is not known: that of the
            first file is then pinned on this machine.
        layout: ``"safetensors"`` for a file of this package, ``"checkpoint"`` for a published ``.pth``, which is
            converted once after the download.
        url: Address that answers with the file itself; empty if it takes a browser to download it.
        page: Address to open in a browser.
        filename: Name of the file there.
        status: Last known availability, with its date.
    """

    sha256: str = ""
    layout: Literal["safetensors", "checkpoint"] = "checkpoint"
    url: str = ""
    page: str = ""
    filename: str = ""
    status: str = ""

    def __post_init__(self) -> None:
        if self.sha256:
            _require_sha256(self.sha256, "Mirror.sha256")
        if self.layout not in ("safetensors", "checkpoint"):
            raise ConfigError(f"Mirror.layout must be 'safetensors' or 'checkpoint', got {quoted(self.layout)}")
        if not self.url and not self.page:
            raise ConfigError("a Mirror needs a url (which answers with the file) or a page (for a browser)")
        # Other schemes (file:, javascript:) in a record from elsewhere could do harm when it is opened.
        for address in (self.url, self.page):
            if address and not address.startswith(("https://", "http://")):
                raise ConfigError(f"a Mirror's address must begin with https:// or http://, got {quoted(address)}")


@dataclass(frozen=True, kw_only=True)
class Score:
    """A reported score.

    Attributes:
        dataset: Data set of the evaluation.
        task: Task of the evaluation.
        metric: Name of the metric.
        value: The score, in the metric's usual unit.
        source: Publication or person that reported it.
    """

    dataset: str
    task: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class WeightRecord:
    """Everything known about one weight.

    Attributes:
        name: Name that users type, lower case without slashes.
        description: One sentence for tables.
        family: Model of others that the weights belong to; empty for those of this package and for Endo-FM.
        config: Architecture and preprocessing.
        hub_id: ``owner/name`` on the Hugging Face hub; empty if it is not on the hub.
        revision: Commit of the hub repository that is loaded, empty for its newest.
        filename: Name of the weights file on the hub; a published checkpoint is converted once after the download.
        status: Last known availability of the hub's file.
        sha256: sha256 of that file, empty if unknown.
        mirrors: Other locations, tried in order.
        packaged: Whether the model folder ships with this package, in ``endofm/weights``.
        license: Licence identifier of the weights, empty if not stated.
        license_note: Basis of the licence statement.
        datasets: Training data sets.
        datasets_held_out: Data sets that the authors state were excluded from training.
        overlaps: Overlaps between the data sets of published scores and the training data.
        scores: Reported scores.
        left_out: Tensors of the file that are no part of the model, by name, or by prefix if it ends with a dot.
        random_seed: Seed of a random encoder; None for trained weights.
        paper: Address of the paper.
        notes: Further statements for the model card.
        sources: Where each fact of the record was read.
    """

    name: str
    description: str
    config: ModelConfig
    family: str = ""
    hub_id: str = ""
    revision: str = ""
    filename: str = "model.safetensors"
    sha256: str = ""
    status: str = ""
    mirrors: tuple[Mirror, ...] = ()
    packaged: bool = False
    license: str = ""
    license_note: str = ""
    datasets: tuple[str, ...] = ()
    datasets_held_out: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    left_out: tuple[str, ...] = ()
    random_seed: int | None = None
    paper: str = ""
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                "WeightRecord.name must consist of lower-case letters, digits, '.', '_' and '-', got "
                f"{quoted(self.name)}"
            )
        if self.sha256:
            _require_sha256(self.sha256, "WeightRecord.sha256")
        # Random weights have a seed and no file, all others a file and no seed.
        if (self.random_seed is None) == (not self.hub_id and not self.mirrors and not self.packaged):
            raise ConfigError(
                f"WeightRecord {quoted(self.name)}: give either a random_seed, or a location of the file (hub_id, "
                "mirrors or packaged)"
            )
        # Features of random weights mean nothing; the flag in the configuration is what warns about it.
        if self.config.trained == (self.random_seed is not None):
            raise ConfigError(
                f"WeightRecord {quoted(self.name)}: config.trained must be false exactly for random weights"
            )

    @property
    def task(self) -> str:
        """Task of the model: that of its head, ``"features"`` for an encoder alone."""
        return self.config.task

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the encoder."""
        return count_parameters(self.config.encoder)
