"""Queries of a library: a moment of a video, an image, a feature file, or an embedding."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from endofm.errors import InputError, quoted
from endofm.library.calibration import Float32Array, unit_rows
from endofm.library.recording import Recording, find_recording, library_settings
from endofm.library.store import ClipFilter, LibraryStore
from endofm.resume import require_same_settings
from endofm.tasks.features.files import is_feature_file
from endofm.tasks.features.results import VideoFeatures, clock
from endofm.tasks.result_rows import row_at
from endofm.video.find import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from endofm.tasks.features.model import VideoEncoder

_MOMENT = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)")


@dataclass(frozen=True, eq=False)
class Query:
    """The subject of a search.

    Attributes:
        name: Description for people.
        unit: Unit vector, float32 ``(embed_dim,)``.
        recording: Recording of the library that it is part of, None if it is of none.
    """

    name: str
    unit: Float32Array
    recording: Recording | None = None


def split_moment(text: str) -> tuple[str, float | None]:
    """Return the name and the seconds of ``"procedure.mp4@03:20"``.

    Args:
        text: A name or path with ``@`` and a time: seconds, ``MM:SS`` or ``H:MM:SS``. A file that exists under the
            whole text is a name without a time.

    Raises:
        InputError: If what follows ``@`` is no time.
    """
    name, at, moment = text.rpartition("@")
    if not at or not name or Path(text).exists():
        return text, None
    return name, _seconds(moment, text)


def parse_span(text: str) -> tuple[float, float]:
    """Return start and end in seconds of ``"02:00-05:30"``.

    Raises:
        InputError: If it is none.
    """
    start, dash, end = text.partition("-")
    if not dash:
        raise InputError(f"{quoted(text)}: a span of time is START-END, such as 02:00-05:30")
    return _seconds(start, text), _seconds(end, text)


def _seconds(moment: str, text: str) -> float:
    found = _MOMENT.fullmatch(moment.strip())
    if found is None:
        raise InputError(f"{quoted(text)}: {quoted(moment)} is no time; write seconds, MM:SS or H:MM:SS")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


class QueryMaker:
    """Turns what a user names into queries of one library.

    Args:
        store: Tables of the library.
        load: Loads the encoder of the library; called when a query has to be embedded.
    """

    def __init__(self, store: LibraryStore, load: Callable[[], VideoEncoder]) -> None:
        self._store, self._load = store, load

    def of_text(self, text: str, recordings: list[Recording]) -> Query:
        """Return the query of a path, or of the name of a recording, with or without a time.

        Raises:
            InputError: If there is no such file or recording, or a video is named without a time.
            VideoError: If a video or image cannot be read.
            FeatureFileError: If a feature file is damaged.
        """
        name, seconds = split_moment(text)
        path = Path(name)
        recording = find_recording(recordings, name)
        if recording is not None:
            return self.of_recording(recording, seconds)
        if not path.exists():
            raise InputError(f"{quoted(name)}: there is no such file, and no recording of this name in the library")
        if is_feature_file(path):
            return self.of_features(VideoFeatures.load(path), seconds, recordings, name=str(path))
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return self.of_image(path, name=path.name)
        if seconds is None:
            raise InputError(f"{name}: name the moment to look for, as in {path.name}@03:20")
        return self.of_video(path, seconds, recordings)

    def of_recording(self, recording: Recording, seconds: float | None) -> Query:
        """Return the stored clip of a recording at a time; without a time the mean of its clips."""
        units, clips = self._store.clips(ClipFilter(recording=recording.id))
        if seconds is None:
            return Query(recording.name, _mean(units), recording)
        row = row_at(clips["start"].to_numpy(), clips["end"].to_numpy(), seconds, recording.name)
        return Query(f"{recording.name} at {clock(seconds)}", units[row], recording)

    def of_features(
        self, features: VideoFeatures, seconds: float | None, recordings: list[Recording], *, name: str
    ) -> Query:
        """Return a clip of features that may be of the library or not; without a time the mean of all.

        Raises:
            JobError: If they are of other weights or settings.
            InputError: If there is no clip at the time, or none at all.
        """
        settings, stored = library_settings(features, name), self._store.settings
        # The step between windows and the precision do not change what an embedding stands for.
        lengths = [
            {**one, "precision": None, "windows": {**(one["windows"] or {}), "hop_seconds": None, "hop_frames": None}}
            for one in (stored, settings)
        ]
        require_same_settings(
            self._store.folder, lengths[0], lengths[1], remedy="extract the query with the settings of the library"
        )
        if not len(features):
            raise InputError(f"{name}: there are no clips in it")
        units = unit_rows(np.asarray(features))
        video: dict[str, Any] = features.provenance.get("video") or {}
        recording = next((one for one in recordings if one.is_same_video(video)), None)
        if seconds is None:
            return Query(name, _mean(units), recording)
        row = row_at(features.start_seconds, features.end_seconds, seconds, name)
        return Query(f"{name} at {clock(seconds)}", units[row], recording)

    def of_video(self, path: Path, seconds: float, recordings: list[Recording]) -> Query:
        """Embed a moment of a video that is not part of the library under this path."""
        from endofm.tasks.features.clip_at import embed_moment

        stored = self._store.settings
        box = (stored["preprocess"] or {}).get("field_of_view")
        features = embed_moment(self._load(), path, seconds, stored["windows"] or {}, field_of_view=box)
        video: dict[str, Any] = features.provenance.get("video") or {}
        recording = next((one for one in recordings if one.is_same_video(video)), None)
        return Query(f"{path.name} at {clock(seconds)}", unit_rows(np.asarray(features))[0], recording)

    def of_image(self, image: Any, *, name: str) -> Query:
        """Embed an image, as a clip in which nothing moves.

        Args:
            image: A path, or whatever else :func:`~endofm.video.open.open_video` takes.
            name: Description for people.
        """
        encoder, stored = self._load(), self._store.settings
        box = (stored["preprocess"] or {}).get("field_of_view")
        features = encoder.extract_features(image, field_of_view=box, progress=False)
        return Query(name, unit_rows(np.asarray(features))[0])


def _mean(units: Float32Array) -> Float32Array:
    mean: Float32Array = unit_rows(units.mean(axis=0, keepdims=True))[0]
    return mean
