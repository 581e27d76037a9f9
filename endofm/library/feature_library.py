"""``FeatureLibrary``: many recordings in one folder, searched by similarity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endofm.address import Address
from endofm.arguments import integer_argument
from endofm.errors import InputError, WeightsNotFoundError, quoted
from endofm.library.adding import AddReport, add_features
from endofm.library.calibration import Calibration, unit_rows
from endofm.library.hits import SearchHit, SearchHits
from endofm.library.query import Query, QueryMaker
from endofm.library.recording import Recording
from endofm.library.store import ClipFilter, LibraryStore
from endofm.progress import Progress
from endofm.tasks.result_rows import row_at

if TYPE_CHECKING:
    import os

    from endofm.tasks.features.model import VideoEncoder

MOST_HITS = 10_000
"""Largest number of hits of one search."""


class FeatureLibrary:
    """Library of procedures: clip embeddings of many recordings, found by similarity.

    A folder on disk (LanceDB); nothing is read into memory at once. Scores are cosines after the mean of the library is
    subtracted, and each hit states what fraction of unrelated pairs is less similar.

    Args:
        folder: Folder of the library. It need not exist: :meth:`add` creates it.
        weights: Weights that queries are embedded with; by default those that the library names. They must be the same
            weights, for example in another folder.

    Raises:
        InputError: If the folder is no library.
        MissingExtraError: If LanceDB is not installed (extra ``library``).

    Example:
        >>> library = FeatureLibrary("archive.lance")  # doctest: +SKIP
        >>> library.add("features/")  # doctest: +SKIP
        >>> for hit in library.search("procedure.mp4@03:20", k=5):  # doctest: +SKIP
        ...     print(hit)
    """

    def __init__(self, folder: str | os.PathLike[str], *, weights: str | Path | None = None) -> None:
        self.folder = Path(folder)
        if self.folder.is_file():
            raise InputError(f"{self.folder} is a file; a library is a folder")
        self._weights = weights
        self._encoder: VideoEncoder | None = None
        self._opened: LibraryStore | None = LibraryStore(self.folder) if self.folder.exists() else None

    @property
    def _store(self) -> LibraryStore:
        if self._opened is None:
            raise InputError(f"{self.folder}: there is no library; `endofm library add` creates one")
        if self._opened.calibration is None:
            raise InputError(f"{self.folder}: this library is empty; `endofm library add` adds features")
        return self._opened

    def __len__(self) -> int:
        return self._opened.count() if self._opened else 0

    def __repr__(self) -> str:
        count = len(self.recordings)
        weights = f", {self.settings['weights']}" if self.settings else ""
        return (
            f"FeatureLibrary({count} {'recording' if count == 1 else 'recordings'}, {len(self)} clips{weights} "
            f"in {self.folder})"
        )

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Recordings of the library, in the order in which they were added."""
        return tuple(self._opened.recordings()) if self._opened else ()

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that all features of the library share: weights, preprocessing, windows, precision."""
        return dict(self._opened.settings) if self._opened else {}

    @property
    def calibration(self) -> Calibration:
        """Centre of the embeddings, and the scores of unrelated pairs.

        Raises:
            InputError: If the library is empty.
        """
        calibration = self._store.calibration
        assert calibration is not None
        return calibration

    @property
    def untrained(self) -> bool:
        """True if the embeddings come from random weights, so that scores mean nothing."""
        return self.settings.get("trained") is False

    def describe(self) -> dict[str, Any]:
        """Return contents, settings and calibration as plain JSON values.

        Raises:
            InputError: If the library is empty.
        """
        recordings, calibration = self.recordings, self.calibration
        unrelated = "no pairs of unrelated recordings: scores have no scale yet"
        if calibration.quantiles:
            low, middle, high = (calibration.score_at(level) for level in (0.05, 0.5, 0.95))
            unrelated = f"scores of {calibration.pairs:,} pairs: {low:.2f} to {high:.2f} (90 %), median {middle:.2f}"
        return {
            "clips": len(self),
            "settings": self.settings,
            "sets": dict(Counter(one.set for one in recordings)),
            "indexed": self._store.indexed(),
            "unrelated": unrelated,
            "recordings": [asdict(one) for one in recordings],
        }

    def add(
        self,
        features: str | Path | Address | Iterable[str | Path | Address],
        *,
        set: str | None = None,
        labels: str | Path | None = None,
        progress: Progress = True,
    ) -> AddReport:
        """Add the feature files of folders; what the library has already is skipped.

        An interrupted call is resumed by the same call. A file that has changed replaces what was stored of it.

        Args:
            features: Folder that ``endofm extract`` has filled, or a feature file; or several. Addresses in object
                storage (``s3://``) are taken too.
            set: Name of the set that they belong to; by default the name of the folder.
            labels: List ``path,label[,start,end,patient]`` of the recordings.
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

        Raises:
            JobError: If features are of other weights or settings than the library, or another process is adding.
            InputError: If there are no features, or the list cannot be understood.
        """
        many = [features] if isinstance(features, (str, Path, Address)) else list(features)
        report = add_features(self.folder, many, set_name=set, labels=labels, progress=progress)
        self._opened = LibraryStore(self.folder)
        return report

    def query(self, like: Any) -> Query:
        """Return what :meth:`search` would look for.

        Args:
            like: As there.
        """
        if isinstance(like, Query):
            return like
        maker = QueryMaker(self._store, self.encoder)
        if isinstance(like, (str, Path)):
            return maker.of_text(str(like), list(self.recordings))
        if getattr(like, "ndim", 0) == 1:
            width = self.settings["embed_dim"]
            if len(like) != width:
                raise InputError(f"this library holds embeddings of width {width}, got {len(like)}")
            return Query("an embedding", unit_rows(like[None])[0])
        return maker.of_image(like, name="an image")

    def query_recording(self, recording: Recording, seconds: float) -> Query:
        """Return the stored moment of a recording of the library.

        Raises:
            InputError: If the recording has no clip at this time.
        """
        return QueryMaker(self._store, self.encoder).of_recording(recording, seconds)

    def span_at(self, recording: Recording, seconds: float) -> tuple[float, float]:
        """Return start and end of the clip of a recording at a time.

        Raises:
            InputError: As :meth:`query_recording`.
        """
        _, clips = self._store.clips(ClipFilter(recording=recording.id))
        starts, ends = clips["start"].to_numpy(), clips["end"].to_numpy()
        row = row_at(starts, ends, seconds, recording.name)
        return float(starts[row]), float(ends[row])

    def search(
        self,
        like: Any,
        k: int = 20,
        *,
        set: str | None = None,
        patient: str | None = None,
        label: str | None = None,
        between: tuple[float, float] | None = None,
        same_recording: bool = False,
        exact: bool = False,
    ) -> SearchHits:
        """Find the moments that look most like another.

        Args:
            like: ``"procedure.mp4@03:20"``, a moment of a video or of a recording of the library; the path of an image
                or feature file (``features.safetensors@03:20`` for one clip, otherwise the mean of all); an image in
                memory; an embedding ``(embed_dim,)``; or a :class:`~endofm.library.query.Query`.
            k: Number of moments.
            set: Only recordings of this set.
            patient: Only recordings of this patient.
            label: Only clips with this label.
            between: Only clips that share some time with these seconds, ``(start, end)``.
            same_recording: Also find moments of the recording that the query is part of; without it they are left out,
                since neighbours in time are always most similar.
            exact: Compare every clip even where there is an index; slower, and rarely different.

        Returns:
            The moments, best first; fewer than ``k`` if the library holds no more.

        Raises:
            InputError: If an argument is not valid, or the library is empty.
            VideoError: If a video or image cannot be read.
        """
        k = integer_argument(k, "k", high=MOST_HITS)
        query, store = self.query(like), self._store
        own = query.recording
        which = ClipFilter(
            set=set,
            patient=patient,
            label=label,
            between=between,
            without=own.id if own is not None and not same_recording else None,
        )
        (vector,), _ = self.calibration.centred(query.unit[None])
        found = store.nearest(vector, k, which, exact=exact).to_pylist()
        known = {recording.id: recording for recording in self.recordings}
        ranks = self.calibration.rank([row["score"] for row in found])
        hits = [
            SearchHit(
                known[row["recording"]],
                row["start"],
                row["end"],
                row["label"] or "",
                row["score"],
                None if ranks is None else float(ranks[number]),
            )
            for number, row in enumerate(found)
            # Another process may be adding this recording.
            if row["recording"] in known
        ]
        return SearchHits(query.name, tuple(hits), self.calibration, self.untrained)

    def encoder(self) -> VideoEncoder:
        """Return the encoder of the library, which is loaded on first use.

        Raises:
            InputError: If the weights are others than those of the library.
            WeightsError: If they cannot be loaded.
        """
        if self._encoder is None:
            from endofm.tasks.features.model import load_encoder

            stored = self._store.settings
            try:
                encoder = load_encoder(self._weights or stored["weights"])
            except WeightsNotFoundError as error:
                if self._weights is not None:
                    raise
                raise InputError(
                    f"the weights {quoted(stored['weights'])} of the library {self.folder} are not found by this name; "
                    "name their folder or file with --weights (weights= in Python)"
                ) from error
            found = encoder.provenance.get("sha256", "")
            if found != stored["weights_sha256"]:
                raise InputError(
                    f"{quoted(str(self._weights or stored['weights']))}: these are other weights than those of the "
                    f"library {self.folder} (sha256 {quoted(found[:12])} and {quoted(stored['weights_sha256'][:12])}); "
                    "name the right ones with --weights"
                )
            self._encoder = encoder
        return self._encoder
