"""``SearchHits``: the moments that a search found, with scores that can be read."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from endofm.csv_text import write_table
from endofm.disclaimer import DISCLAIMER
from endofm.errors import InputError, require_extra
from endofm.files import atomic_path, write_text
from endofm.library.calibration import Calibration
from endofm.library.recording import Recording
from endofm.tasks.features.results import clock
from endofm.tasks.result_rows import Selection, select_rows

if TYPE_CHECKING:
    import pandas

SUFFIXES = (".csv", ".json")
"""Formats of saved hits."""

_COLUMNS = ("path", "start", "end", "label", "score", "above_unrelated", "set", "patient")


@dataclass(frozen=True)
class SearchHit:
    """One moment that a search found.

    Attributes:
        recording: The recording.
        start_seconds: Start of the clip, seconds after the first frame.
        end_seconds: End of the clip.
        label: Label of the clip; empty without one.
        score: Cosine with the query after centring, in [-1, 1].
        above_unrelated: Fraction of pairs of unrelated clips that are less similar, in [0, 1]; None if the library
            holds no such pairs.
    """

    recording: Recording
    start_seconds: float
    end_seconds: float
    label: str
    score: float
    above_unrelated: float | None

    def __repr__(self) -> str:
        return f"SearchHit({self.recording.name!r}, {clock(self.start_seconds)}, {self.describe()})"

    def describe(self) -> str:
        """Return the score in words."""
        if self.above_unrelated is None:
            return f"score {self.score:.2f}"
        # Cut and not rounded: 99.996 is no 100.
        percent = int(self.above_unrelated * 10000) / 100
        return f"score {self.score:.2f}, more similar than {percent:g} % of unrelated pairs"


@dataclass(frozen=True, eq=False, repr=False)
class SearchHits(Sequence[SearchHit]):
    """Moments that a search found, best first.

    Attributes:
        query: Description of the query.
        hits: The moments.
        calibration: Centre and distribution of the library.
        untrained: Whether the embeddings come from random weights, so that the scores mean nothing.
    """

    query: str
    hits: tuple[SearchHit, ...]
    calibration: Calibration
    untrained: bool = False

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> SearchHit: ...

    @overload
    def __getitem__(self, index: Selection) -> SearchHits: ...

    def __getitem__(self, index: int | Selection) -> SearchHit | SearchHits:
        if isinstance(index, (int, np.integer)):
            return self.hits[index]
        rows = np.arange(len(self))[select_rows(index, len(self))]
        return SearchHits(self.query, tuple(self.hits[row] for row in rows), self.calibration, self.untrained)

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.hits)

    def __repr__(self) -> str:
        best = f", best {self.hits[0].describe()}" if self.hits else ""
        note = ", random weights: they mean nothing" if self.untrained else ""
        return f"SearchHits({len(self)} like {self.query!r}{best}{note})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        heads = ("", "recording", "time", "label", "score", "above unrelated pairs")
        lines = ["".join(f"<th>{head}</th>" for head in heads)]
        for number, (hit, start) in enumerate(zip(self.hits, self.starts(), strict=True), 1):
            times = f"{start}-{clock(hit.end_seconds)}"
            share = "" if hit.above_unrelated is None else f"{int(hit.above_unrelated * 10000) / 100:g} %"
            cells = (str(number), hit.recording.name, times, hit.label, f"{hit.score:.3f}", share)
            lines.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        rows = "".join(f"<tr>{line}</tr>" for line in lines)
        caption = f"{len(self)} moments like {self.query}"
        if self.untrained:
            caption += " (random weights: scores mean nothing)"
        return f"<table><caption>{html.escape(caption)}</caption>{rows}</table>"

    def starts(self) -> list[str]:
        """Return the start of each hit as minutes and seconds, with a fraction where hits would look the same."""
        for digits in (0, 1, 2):
            starts = [clock(hit.start_seconds, digits=digits) for hit in self.hits]
            if len({(hit.recording.id, start) for hit, start in zip(self.hits, starts, strict=True)}) == len(self):
                break
        return starts

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per hit: path of the video, times in seconds, label, score, set and patient."""
        return [
            {
                "path": hit.recording.media or hit.recording.name,
                "start": hit.start_seconds,
                "end": hit.end_seconds,
                "label": hit.label,
                "score": round(hit.score, 6),
                "above_unrelated": hit.above_unrelated,
                "set": hit.recording.set,
                "patient": hit.recording.patient,
            }
            for hit in self.hits
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Return :meth:`rows` as a table.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        frame: pandas.DataFrame = require_extra("pandas", "pandas", "A table of hits").DataFrame(
            self.rows(), columns=list(_COLUMNS)
        )
        return frame

    def save(self, path: str | Path) -> Path:
        """Write the hits: ``.csv`` holds :meth:`rows`, ``.json`` the query and the calibration as well.

        Raises:
            InputError: If the suffix is unknown or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() == ".csv":
            with atomic_path(path) as temporary:
                write_table(temporary, [_COLUMNS, *(tuple(row.values()) for row in self.rows())])
        elif path.suffix.lower() == ".json":
            calibration = {name: value for name, value in asdict(self.calibration).items() if name != "mean"}
            content = {
                "query": self.query,
                "hits": self.rows(),
                "unrelated": calibration,
                "untrained": self.untrained,
                "disclaimer": DISCLAIMER,
            }
            write_text(path, f"{json.dumps(content, indent=1)}\n")
        else:
            raise InputError(f"{path}: hits are saved as {' or '.join(SUFFIXES)}")
        return path
