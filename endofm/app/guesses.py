"""Guesses: labels of other moments by the marks that resemble them most, at once and without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from endofm.app.marks import Mark
from endofm.errors import InputError
from endofm.evaluation.knn import knn_probabilities
from endofm.library.calibration import Float32Array
from endofm.library.feature_library import FeatureLibrary
from endofm.library.hits import SearchHit
from endofm.library.query import Query
from endofm.library.recording import Recording

NEIGHBOURS = 5
"""Marks that vote on a moment."""

_PER_MARK = 12


@dataclass(frozen=True)
class Guess:
    """A moment with the label that its nearest marks suggest.

    Attributes:
        hit: The moment.
        label: The label.
        share: Share of the vote, in [0, 1].
    """

    hit: SearchHit
    label: str
    share: float


class MarkedMoments:
    """Marks of a library with their embeddings.

    Args:
        library: The library.
        marks: The marks; those of recordings that the library does not hold are left out.
        media: Folders of the videos, if they were moved.
    """

    def __init__(self, library: FeatureLibrary, marks: Sequence[Mark], media: Sequence[Path] = ()) -> None:
        by_path = {path_of(recording, media): recording for recording in library.recordings}
        self._library, self._media = library, media
        self.labels: list[str] = []
        self.queries: list[Query] = []
        self.spans: set[tuple[str, float, float]] = set()
        for mark in marks:
            if mark.path not in by_path:
                continue
            try:
                query = library.query_recording(by_path[mark.path], (mark.start + mark.end) / 2)
            except InputError:
                continue  # The recording was extracted anew, and no longer has this moment.
            self.queries.append(query)
            self.labels.append(mark.label)
            self.spans.add((mark.path, mark.start, mark.end))
        self.classes = sorted(set(self.labels))

    def votes(self, units: Float32Array) -> Float32Array:
        """Return the shares of the classes in the vote on some moments, float32 ``(moments, classes)``.

        Raises:
            InputError: If there are no marks.
        """
        if not self.queries:
            raise InputError("nothing is marked yet; choose a moment and give it a label first")
        bank = self._centred(np.stack([query.unit for query in self.queries]))
        shares = knn_probabilities(
            bank,
            torch.tensor([self.classes.index(label) for label in self.labels]),
            self._centred(units),
            num_classes=len(self.classes),
            k=NEIGHBOURS,
        )
        return shares.numpy()

    def suggest(self, count: int) -> list[Guess]:
        """Return the moments most like the marks that are not marked yet, surest first, at most ``count``."""
        found: dict[tuple[int, float], SearchHit] = {}
        for query in self.queries:
            for hit in self._library.search(query, _PER_MARK, same_recording=True):
                if (path_of(hit.recording, self._media), hit.start_seconds, hit.end_seconds) not in self.spans:
                    key = (hit.recording.id, hit.start_seconds)
                    found[key] = max(found.get(key, hit), hit, key=lambda one: one.score)
        hits = sorted(found.values(), key=lambda hit: -hit.score)[: 4 * count]
        if not hits:
            return []
        middles = [(hit.recording, (hit.start_seconds + hit.end_seconds) / 2) for hit in hits]
        units = np.stack([self._library.query_recording(*middle).unit for middle in middles])
        shares = self.votes(units)
        guesses = [
            Guess(hit, self.classes[int(row.argmax())], float(row.max())) for hit, row in zip(hits, shares, strict=True)
        ]
        return sorted(guesses, key=lambda guess: -guess.share * max(guess.hit.score, 0))[:count]

    def _centred(self, units: Float32Array) -> torch.Tensor:
        return torch.from_numpy(self._library.calibration.centred(units)[0])


def path_of(recording: Recording, media: Sequence[Path] = ()) -> str:
    """Return how marks name a recording: the path of its video, or its name where that is not known."""
    return str(recording.media_file(media) or recording.media or recording.name)
