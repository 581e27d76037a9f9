"""Adding feature files to a library: idempotent, resumable, and never of two kinds of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from endofm.address import Address, full_name, located, objects_below
from endofm.data.clip_table import ClipTable
from endofm.data.listing import read_clips
from endofm.errors import FeatureFileError, InputError, JobError
from endofm.evaluation.labelled_features import feature_files, file_of
from endofm.inference.job_manifest import read_entries
from endofm.library.calibration import Calibration, Float32Array, unit_rows
from endofm.library.recording import Recording, content_sum, library_settings
from endofm.library.store import LibraryStore, load_lancedb
from endofm.output_place import place_of
from endofm.progress import Progress, progress_bar
from endofm.resume import exclusive, file_state, manifest_name, require_same_settings
from endofm.tasks.features.feature_set import FeatureSet
from endofm.tasks.features.files import is_feature_file
from endofm.tasks.features.results import VideoFeatures
from endofm.tasks.result_rows import TimeSpan

_BATCH_RECORDINGS, _BATCH_CLIPS = 64, 50_000
"""Recordings and clips that are written at once, and lost at most if the process is killed."""

_SAMPLE_RECORDINGS, _SAMPLE_CLIPS = 256, 64
_SAMPLE_ROWS = 20_000


@dataclass(frozen=True)
class AddReport:
    """Outcome of adding features.

    Attributes:
        added: Recordings that are new in the library or replaced an earlier state.
        clips: Their clips.
        skipped: Number of feature files that the library had already.
        copies: Feature file, and the file of the library with the same content, which is not added again.
        failed: Feature file and reason, of those that cannot be read.
    """

    added: tuple[Recording, ...] = ()
    clips: int = 0
    skipped: int = 0
    copies: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A feature file to add.

    Attributes:
        file: The file.
        name: Name of the recording.
        media: Path or address of the video; empty if unknown.
        set: Name of the set.
        patient: Patient; empty if unknown.
        spans: Labelled spans of the recording.
        described: Whether set, patient and spans were given now, and replace what the library holds.
    """

    file: Path | Address
    name: str
    media: str
    set: str
    patient: str = ""
    spans: tuple[TimeSpan, ...] = ()
    described: bool = False

    def description(self) -> str:
        """Return a checksum of set, patient and spans."""
        text = json.dumps([self.set, self.patient, sorted(self.spans)])
        return hashlib.sha256(text.encode()).hexdigest()


def add_features(
    folder: Path,
    features: Sequence[str | Path | Address],
    *,
    set_name: str | None,
    labels: str | Path | None,
    progress: Progress,
) -> AddReport:
    """Add feature files to the library in ``folder``; see :meth:`FeatureLibrary.add`."""
    sources = [source for path in features for source in _sources(located(path), set_name, labels)]
    if not sources:
        raise InputError("there are no features to add; name a folder that `endofm extract` has filled")
    load_lancedb()
    with exclusive(folder):
        adding = _Adding(LibraryStore(folder))
        adding.run(sources, progress=progress)
        adding.finish()
    return adding.report()


@dataclass
class _Adding:
    """Work of one call: what is pending, and what has been written."""

    store: LibraryStore
    added: list[Recording] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0
    pending: list[tuple[Recording, VideoFeatures, tuple[TimeSpan, ...]]] = field(default_factory=list)

    def run(self, sources: Sequence[_Source], *, progress: Progress) -> None:
        known = {one.features: one for one in self.store.recordings()}
        by_content = {one.content: one for one in known.values()}
        next_id = max((one.id for one in known.values()), default=-1) + 1
        new = [source for source in sources if not self._done(source, known)]
        self.skipped = len(sources) - len(new)
        if new and self.store.calibration is None:
            self._create(new)
        if self.store.calibration is not None:
            self.store.drop_incomplete()
        with progress_bar(total=len(new), description="adding", unit="recording", progress=progress) as bar:
            for source in new:
                bar.update(1)
                try:
                    features = VideoFeatures.load(source.file)
                    settings = library_settings(features, source.file)
                    if not len(features):
                        raise FeatureFileError(f"{source.file}: there are no clips in it")
                except (FeatureFileError, InputError) as error:
                    self.failed.append((str(source.file), str(error)))
                    continue
                self._require_same(source, settings)
                recording = _recording(source, features, next_id)
                twin = by_content.get(recording.content)
                earlier = known.get(recording.features)
                if twin is not None and twin is not earlier:
                    self.copies.append((recording.features, twin.features))
                    continue
                if earlier is not None:
                    self.store.drop(earlier)
                next_id += 1
                known[recording.features] = by_content[recording.content] = recording
                # Patch tokens may be on disk, and are not needed.
                plain = replace(features, frame_embeddings=None, patch_tokens=None)
                self.pending.append((recording, plain, source.spans))
                if len(self.pending) >= _BATCH_RECORDINGS or self._pending_clips() >= _BATCH_CLIPS:
                    self._flush()
        self._flush()

    def finish(self) -> None:
        """Centre anew if the library has outgrown its sample, and bring index and files in order."""
        calibration = self.store.calibration
        if calibration is None:
            return
        total = len(self.store.recordings())
        if total >= 2 * calibration.recordings or (total > 1 and not calibration.quantiles):
            units, recordings, patients = self.store.sample(_SAMPLE_ROWS)
            self.store.recalibrate(Calibration.estimate(units, recordings, patients, total=total))
        if self.added or total:
            self.store.finish()

    def report(self) -> AddReport:
        clips = sum(one.clips for one in self.added)
        return AddReport(tuple(self.added), clips, self.skipped, tuple(self.copies), tuple(self.failed))

    def _done(self, source: _Source, known: dict[str, Recording]) -> bool:
        recording = known.get(full_name(source.file))
        state = file_state(source.file)
        if recording is None or (recording.size_bytes, recording.modified) != state:
            return False
        return not source.described or recording.description == source.description()

    def _pending_clips(self) -> int:
        return sum(len(features) for _, features, _ in self.pending)

    def _require_same(self, source: _Source, settings: dict[str, Any]) -> None:
        try:
            require_same_settings(
                self.store.folder, self.store.settings, settings, remedy="extract these videos as the others"
            )
        except JobError as error:
            raise JobError(f"{source.file} cannot be added: {error}") from error

    def _create(self, new: Sequence[_Source]) -> None:
        """Create the library from a sample of what is to be added: vectors are centred when they are written."""
        order = np.random.default_rng(0).permutation(len(new))
        settings: dict[str, Any] | None = None
        units: list[Float32Array] = []
        recordings: list[int] = []
        patients: list[str] = []
        for number in order:
            source = new[number]
            if len(units) >= _SAMPLE_RECORDINGS:
                break
            try:
                features = VideoFeatures.load(source.file)
                own = library_settings(features, source.file)
            except (FeatureFileError, InputError):
                continue  # It is reported when its turn comes.
            if not len(features):
                continue
            settings = own if settings is None else settings
            if own != settings:
                require_same_settings(
                    str(source.file.parent), settings, own, remedy="add them to libraries of their own"
                )
            step = max(len(features) // _SAMPLE_CLIPS, 1)
            units.append(unit_rows(np.asarray(features)[::step]))
            recordings += [number] * len(units[-1])
            patients += [source.patient] * len(units[-1])
        if settings is not None:
            sample = Calibration.estimate(np.concatenate(units), recordings, patients, total=len(new))
            self.store.create(settings, sample)

    def _flush(self) -> None:
        if not self.pending:
            return
        labels = [
            label or "" for _, features, spans in self.pending for label in features.labels_from(spans, min_overlap=0.5)
        ]
        counts = [len(features) for _, features, _ in self.pending]
        columns = {
            name: np.repeat([getattr(recording, key) for recording, _, _ in self.pending], counts).tolist()
            for name, key in (("recording", "id"), ("set", "set"), ("patient", "patient"))
        }
        columns["label"] = labels
        columns["start"] = np.concatenate([features.start_seconds for _, features, _ in self.pending])
        columns["end"] = np.concatenate([features.end_seconds for _, features, _ in self.pending])
        recordings = [recording for recording, _, _ in self.pending]
        units = unit_rows(np.concatenate([np.asarray(features) for _, features, _ in self.pending]))
        self.store.append(recordings, units, columns)
        self.added += recordings
        self.pending = []


def _recording(source: _Source, features: VideoFeatures, number: int) -> Recording:
    size, modified = file_state(source.file)
    video = features.provenance.get("video") or {}
    return Recording(
        id=number,
        name=source.name,
        features=full_name(source.file),
        media=source.media,
        set=source.set,
        patient=source.patient,
        clips=len(features),
        seconds=float(features.end_seconds.max()),
        size_bytes=size,
        modified=modified,
        content=content_sum(features),
        description=source.description(),
        video_bytes=int(video.get("size_bytes") or -1),
    )


def _sources(path: Path | Address, set_name: str | None, labels: str | Path | None) -> list[_Source]:
    """Return the feature files of a folder, or one file, with what a list says about them.

    Raises:
        InputError: If there is no such folder or file, or the list cannot be understood.
    """
    files: dict[str, Path | Address]
    # Below the address of one object there is nothing.
    if is_feature_file(path) if isinstance(path, Path) else path.suffix and not objects_below(path):
        folder, files = path.parent, {path.name.removesuffix(path.suffix): path}
    else:
        folder, files = path, dict(FeatureSet.open(path).files)
    media: dict[Path | Address, str] = {}
    if place_of(folder).existing_file(manifest_name(folder)):
        media = {folder / entry.output: full_name(entry.source) for entry in read_entries(folder)}
    chosen = PurePath(full_name(folder)).name if set_name is None else set_name
    described = labels is not None or set_name is not None
    sources = [
        _Source(file=file, name=name, media=media.get(file, ""), set=chosen, described=described)
        for name, file in files.items()
    ]
    return sources if labels is None else _labelled(sources, folder, read_clips(labels))


def _labelled(sources: list[_Source], folder: Path | Address, table: ClipTable) -> list[_Source]:
    """Return the sources with patients and labelled spans of a list."""
    known = feature_files(folder)
    spans: dict[Path | Address, list[TimeSpan]] = {}
    patients: dict[Path | Address, str] = {}
    for row in range(len(table)):
        file = file_of(known, table, row)
        if file is None:
            continue
        patients[file] = table.patient[row] or patients.get(file, "")
        if table.label[row] >= 0:
            end = min(float(table.end[row]), 1e9)
            spans.setdefault(file, []).append((float(table.start[row]), end, table.classes[int(table.label[row])]))
    return [replace(one, patient=patients.get(one.file, ""), spans=tuple(spans.get(one.file, ()))) for one in sources]
