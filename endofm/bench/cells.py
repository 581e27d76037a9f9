"""Cells of a comparison, one for each encoder and set: computed, kept, and found again by the content of both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.bench.cost import Cost
from endofm.bench.decoded import DecodedItems, decoded_items
from endofm.bench.frozen import BATCH, Embedded, Frozen
from endofm.bench.probe_set import ProbeSet
from endofm.bench.scores import ProbeScore, score_set
from endofm.bench.suite import SetConfig
from endofm.evaluation.bootstrap import plain
from endofm.evaluation.report import write_json
from endofm.files import atomic_path
from endofm.hub.download import file_sha256
from endofm.json_text import read_json
from endofm.progress import progress_bar
from endofm.resume import file_state
from endofm.training.config_schema import to_dict

_FORMAT = 1
"""Raised when the same embeddings would be scored in another way."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """Scores of one encoder on one set.

    Attributes:
        scores: The scores.
        notes: Sentences on probes that could not be scored.
        cost: Cost of the embeddings.
    """

    scores: tuple[ProbeScore, ...]
    notes: tuple[str, ...]
    cost: Cost


class FileDigests:
    """Checksums of files, kept in a file: one that has not changed in size and time is not read again.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = _read_kept(path) or {}

    def __call__(self, path: Path) -> str:
        """Return the sha256 of a file."""
        state = list(file_state(path))
        kept = self._known.get(str(path.absolute()))
        if kept is None or kept[:2] != state:
            kept = [*state, file_sha256(path)]
            self._known[str(path.absolute())] = kept
        return str(kept[2])

    def save(self) -> None:
        """Write the checksums."""
        write_json(self._path, self._known)


class SetCells:
    """Cells of one set.

    Args:
        name: Name of the set.
        config: How it is scored.
        data: Its items.
        out: Folder of the comparison.
        resamples: Resamples of the intervals.
        digests: Checksums of files.
    """

    def __init__(
        self, name: str, config: SetConfig, data: ProbeSet, out: Path, *, resamples: int, digests: FileDigests
    ) -> None:
        self.name, self.config, self.data = name, config, data
        self._out, self._resamples = out, resamples
        self._pixels = data.pixels_digest(digests)
        self._stack = ExitStack()
        self._decoded: DecodedItems | None = None

    def __enter__(self) -> SetCells:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def kept(self, spec: str, encoder_key: str) -> Cell | None:
        """Return the cell of an encoder if an earlier run has written it from the same weights, files and settings."""
        values = _read_kept(self._file(spec))
        return _cell_of(values) if values is not None and values["key"] == self._key(encoder_key) else None

    def compute(self, spec: str, encoder: Frozen) -> Cell:
        """Embed the set, score it and write the cell."""
        embedded, cost = self._embeddings(encoder)
        scores, notes = score_set(self.data, embedded, self.config.score, resamples=self._resamples)
        cell = Cell(scores=tuple(scores), notes=tuple(notes), cost=cost)
        write_json(self._file(spec), {"key": self._key(encoder.key), "encoder": spec, **_values_of(cell)})
        return cell

    def _key(self, encoder_key: str) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "encoder": encoder_key,
            "pixels": self._pixels,
            "labels": self.data.labels_digest(),
            "view": self.config.view,
            "score": to_dict(self.config.score),
            "resamples": self._resamples,
        }

    def _file(self, spec: str) -> Path:
        return self._out / "cells" / self.name / f"{file_name(spec)}.json"

    def _embeddings(self, encoder: Frozen) -> tuple[Embedded, Cost]:
        base = self._out / "embeddings" / f"{encoder.key}-{self.config.view}-{self._pixels}"
        items, cells, record = (Path(f"{base}{end}") for end in (".items.npy", ".cells.npy", ".json"))
        needs_cells = self.data.has_cells or "attentive" in self.config.score.probes
        values = _read_kept(record)
        if values is None or (needs_cells and not values["with_cells"]):
            embedded, cost = self._embed(encoder, needs_cells)
            _save(items, embedded.items)
            if embedded.cells is not None:
                _save(cells, embedded.cells)
            # After the arrays: the record stands for complete ones.
            write_json(record, {"with_cells": needs_cells, "cost": vars(cost)})
            return embedded, cost
        kept = np.load(cells, mmap_mode="r", allow_pickle=False) if needs_cells and cells.is_file() else None
        return Embedded(np.load(items, allow_pickle=False), kept), Cost(**values["cost"])

    def _embed(self, encoder: Frozen, needs_cells: bool) -> tuple[Embedded, Cost]:
        if self._decoded is None:
            decoding = decoded_items(self.data, self._out / "decoded", self._pixels)
            self._decoded = self._stack.enter_context(decoding)
        cost, parts = Cost(), []
        with progress_bar(total=len(self._decoded), description=self.name, unit="item") as bar:
            for batch in self._decoded.batches(BATCH):
                with cost.measured(encoder.device):
                    embedded = encoder.embed(batch, self.config.view)
                cost.clips += sum(map(len, batch))
                parts.append(embedded if needs_cells else Embedded(embedded.items, None))
                bar.update(len(batch))
        cells = [part.cells for part in parts if part.cells is not None]
        joined = np.concatenate(cells) if cells else None
        return Embedded(np.concatenate([part.items for part in parts]), joined), cost


def file_name(spec: str) -> str:
    """Return a name for the files of an encoder: of a folder the last parts of its path."""
    plain_name = re.sub(r"[^A-Za-z0-9._-]+", "-", spec).strip("-.") or "encoder"
    return plain_name[-100:].lstrip("-.")


def references(out: Path) -> Iterator[str]:
    """Yield the checksums of encoders and pixels that cells of the folder were computed from, joined by a dash."""
    for file in (out / "cells").glob("*/*.json"):
        values = _read_kept(file)
        if values is not None:
            key = values["key"]
            yield f"{key['encoder']}-{key['view']}-{key['pixels']}"


def remove_unused_embeddings(out: Path) -> None:
    """Remove embeddings that no cell rests on: those of weights or pictures that have changed since."""
    used = set(references(out))
    for file in (out / "embeddings").glob("*"):
        if file.name.partition(".")[0] not in used:
            file.unlink(missing_ok=True)


def _values_of(cell: Cell) -> dict[str, Any]:
    return {
        "scores": [
            {
                "name": score.name,
                "metric": score.metric,
                "value": plain(score.value),
                "chosen": score.chosen,
                "draws": [plain(draw) for draw in score.draws.tolist()],
            }
            for score in cell.scores
        ],
        "notes": list(cell.notes),
        "cost": vars(cell.cost),
    }


def _cell_of(values: Mapping[str, Any]) -> Cell:
    scores = [
        ProbeScore(
            name=row["name"],
            metric=row["metric"],
            value=_number(row["value"]),
            draws=np.array([_number(draw) for draw in row["draws"]], np.float64),
            chosen=row["chosen"],
        )
        for row in values["scores"]
    ]
    return Cell(scores=tuple(scores), notes=tuple(values["notes"]), cost=Cost(**values["cost"]))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _read_kept(path: Path) -> Any:
    """Return the content of a JSON file of an earlier run, None if there is none or another program damaged it."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _save(path: Path, rows: npt.NDArray[np.float32]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
