"""Data check: missing, damaged, duplicated and shared clips."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from endofm._version import __version__
from endofm.data.clip_files import ClipListing, Inspection, InspectTask, clips_of, find_sets, inspect_some
from endofm.data.manifest import CLIP_MANIFEST_NAME, ClipRow, read_manifest, write_manifest
from endofm.data.perceptual_hashes import ClipHashes, read_hashes, write_hashes
from endofm.data.similar_clips import find_similar
from endofm.files import require_writable, write_text
from endofm.pool import WorkerDied, run_tasks, usable_processors
from endofm.progress import progress_bar

REPORT_NAME = "check.json"
CLEAN_NAME = "clean.csv"
KINDS = {
    "missing": "listed, but the file does not exist",
    "damaged": "differs from what was prepared, or cannot be decoded",
    "unlisted": "exists, but is not listed",
    "duplicate": "same file as another clip",
    "near-duplicate": "same content as another recording of the set",
    "overlap": "same content as a clip of another set",
}
"""Kinds of findings and their meanings."""

_ROWS_PER_TASK = 16


@dataclass(frozen=True)
class CheckFinding:
    """One finding.

    Attributes:
        kind: One of :data:`KINDS`.
        clip: Path of the clip.
        other: Path of the clip with the same content, else empty.
        text: Details, as a sentence.
        fraction: For similar clips, the fraction of the shorter clip's frames that also occur in the other, else None.
    """

    kind: str
    clip: str
    other: str = ""
    text: str = ""
    fraction: float | None = None


@dataclass(frozen=True)
class CheckReport:
    """Outcome of a check; stored as ``check.json``.

    Attributes:
        folder: Folder that was checked.
        clips: Number of its clips.
        against: Folders that it was compared with.
        findings: The findings, ordered by kind.
        left_out: Path and sentence for everything in these folders that is no clip and might have been meant as one.
    """

    folder: str
    clips: int
    against: tuple[str, ...]
    findings: tuple[CheckFinding, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each kind that occurs, in the order of :data:`KINDS`."""
        counts = Counter(finding.kind for finding in self.findings)
        return {kind: counts[kind] for kind in KINDS if counts[kind]}


@dataclass(frozen=True)
class _InspectedSet:
    """One set and the state of its clips."""

    folder: Path
    listing: ClipListing
    states: list[Inspection]
    hashes: ClipHashes

    @property
    def rows(self) -> list[ClipRow]:
        return self.listing.rows

    def path(self, index: int) -> str:
        return (self.folder / self.rows[index].path).as_posix()


def check(
    folder: str | Path, against: Sequence[str | Path] = (), *, jobs: int | None = None, progress: bool = True
) -> CheckReport:
    """Check prepared data, and compare it with other data.

    Args:
        folder: A prepared set, a folder of prepared sets, or any folder of videos or frames.
        against: Other data, in the same forms, that must not show the same recordings, e.g. a downstream set. Only its
            content is compared; its files are not verified.
        jobs: Number of processes; by default one per usable processor.
        progress: Show a progress bar.

    Returns:
        The report, which is also written to ``check.json`` in ``folder``.

    Raises:
        InputError: If one of the folders is missing or its manifest cannot be read.
    """
    folder = Path(folder)
    jobs = jobs or usable_processors()
    sets, other_sets = find_sets(folder), [path for root in against for path in find_sets(Path(root))]
    require_writable(folder / REPORT_NAME)
    checked = [_inspect_set(path, jobs, verify=True, progress=progress) for path in sets]
    others = [_inspect_set(path, jobs, verify=False, progress=progress) for path in other_sets]
    findings = [finding for one in checked for finding in _file_findings(one)]
    findings += _shared_content(checked, others)
    findings.sort(key=lambda finding: list(KINDS).index(finding.kind))
    clips = sum(len(one.rows) for one in checked)
    left_out = tuple((f"{one.folder / name}", text) for one in checked for name, text in one.listing.left_out)
    report = CheckReport(str(folder), clips, tuple(str(root) for root in against), tuple(findings), left_out)
    text = json.dumps({"endofm_version": __version__, **asdict(report)}, indent=1)
    write_text(folder / REPORT_NAME, text + "\n")
    return report


def _inspect_set(folder: Path, jobs: int, *, verify: bool, progress: bool) -> _InspectedSet:
    """Inspect the clips of a set; without ``verify``, read files only if the set has no stored hashes."""
    listing = clips_of(folder)
    rows = listing.rows
    stored = read_hashes(folder, rows)
    if stored is not None and not verify:
        return _InspectedSet(folder, listing, [Inspection(sha256=row.sha256) for row in rows], stored)
    tasks = [
        InspectTask(folder, rows[first : first + _ROWS_PER_TASK], first, stored is None)
        for first in range(0, len(rows), _ROWS_PER_TASK)
    ]
    results: dict[int, list[Inspection]] = {}
    with progress_bar(total=len(rows), description=f"Checking {folder.name}", unit="clip", progress=progress) as bar:
        for task, result in run_tasks(inspect_some, tasks, jobs):
            results[task.first] = _inspect_one_by_one(task) if isinstance(result, WorkerDied) else result
            bar.update(len(task.rows))
    # Tasks end in any order; their first index puts the states back in the order of the rows.
    states = [state for _, some in sorted(results.items()) for state in some]
    if stored is None:
        stored = ClipHashes.join([state.hashes or () for state in states])
        # Hashes of a damaged set would be taken for those of the repaired one, so they are not kept.
        if (folder / CLIP_MANIFEST_NAME).is_file() and not any(state.kind for state in states):
            write_hashes(folder, rows, stored)
    return _InspectedSet(folder, listing, states, stored)


def _inspect_one_by_one(task: InspectTask) -> list[Inspection]:
    """Inspect each clip in a separate process, because one of them crashes the decoder."""
    tasks = [InspectTask(task.folder, [row], first, task.need_hashes) for first, row in enumerate(task.rows)]
    states = {
        one.first: Inspection("damaged", "crashes the decoder") if isinstance(result, WorkerDied) else result[0]
        for one, result in run_tasks(inspect_some, tasks, 1)
    }
    return [states[index] for index in range(len(tasks))]


def _file_findings(one: _InspectedSet) -> list[CheckFinding]:
    """Return missing, damaged and unlisted files of a set."""
    found = [
        CheckFinding(state.kind, one.path(place), text=state.text)
        for place, state in enumerate(one.states)
        if state.kind
    ]
    return found + [CheckFinding("unlisted", (one.folder / name).as_posix()) for name in one.listing.unlisted]


def _shared_content(checked: Sequence[_InspectedSet], others: Sequence[_InspectedSet]) -> list[CheckFinding]:
    """Return pairs of clips with the same file or the same content, within and between sets."""
    # All clips of all sets get consecutive indices, the checked sets first.
    sets = [*checked, *others]
    names = [one.path(index) for one in sets for index in range(len(one.rows))]
    checksums = [state.sha256 for one in sets for state in one.states]
    set_of_clip = np.repeat(np.arange(len(sets)), [len(one.rows) for one in sets])
    num_checked = sum(len(one.rows) for one in checked)
    findings: list[CheckFinding] = []
    same: set[tuple[int, int]] = set()
    by_checksum: dict[str, list[int]] = defaultdict(list)
    for index, checksum in enumerate(checksums):
        if checksum:
            by_checksum[checksum].append(index)
    for first, *copies in by_checksum.values():
        for copy in copies:
            if first < num_checked:
                same.add((first, copy))
                kind = "duplicate" if set_of_clip[copy] == set_of_clip[first] else "overlap"
                findings.append(CheckFinding(kind, names[first], names[copy], "the same file", 1.0))
    # Clips of one patient, else of one recording, show the same anatomy: they are never near-duplicates.
    groups = [f"{i} {row.patient or row.video or row.path}" for i, one in enumerate(sets) for row in one.rows]
    for similar in find_similar(_join([one.hashes for one in sets]), groups):
        if similar.first >= num_checked or (similar.first, similar.second) in same:
            continue
        kind = "near-duplicate" if set_of_clip[similar.first] == set_of_clip[similar.second] else "overlap"
        text = f"{similar.fraction:.0%} of the frames of the shorter one, {similar.bits:.0f} of 128 bits apart"
        clip, other = names[similar.first], names[similar.second]
        findings.append(CheckFinding(kind, clip, other, text, round(similar.fraction, 4)))
    return findings


def _join(parts: Sequence[ClipHashes]) -> ClipHashes:
    """Concatenate the hashes of several sets."""
    # `ends` count from the start of their own set; each is shifted by the hashes before it.
    offsets = np.cumsum([0, *(len(part.hashes) for part in parts)])
    hashes = np.concatenate([part.hashes for part in parts])
    return ClipHashes(hashes, np.concatenate([part.ends + low for part, low in zip(parts, offsets, strict=False)]))


def write_clean(report: CheckReport) -> list[tuple[Path, int, int]]:
    """Write ``clean.csv`` next to each manifest of the checked folder; the manifest and all files are kept.

    It leaves out missing and damaged clips, all but one of several equal files, and clips that overlap with the other
    data. Similar clips within the folder are kept: keep them on one side of a split.

    Args:
        report: From :func:`~endofm.data.check.check`.

    Returns:
        For each set the file, the number of clips in it, and the number that was left out.
    """
    written = []
    # The folder may hold several sets, and an overlap between two of them is no reason to leave a clip out.
    sets = [folder for folder in find_sets(Path(report.folder)) if (folder / CLIP_MANIFEST_NAME).is_file()]
    own = {(folder / row.path).as_posix() for folder in sets for row in read_manifest(folder / CLIP_MANIFEST_NAME)}
    bad: set[str] = set()
    for finding in report.findings:
        if finding.kind in ("missing", "damaged"):
            bad.add(finding.clip)
        elif finding.kind == "duplicate":
            bad.add(finding.other)
        elif finding.kind == "overlap" and finding.other not in own:
            bad.add(finding.clip)
    for folder in sets:
        rows = read_manifest(folder / CLIP_MANIFEST_NAME)
        good = [row for row in rows if (folder / row.path).as_posix() not in bad]
        write_manifest(folder / CLEAN_NAME, good)
        written.append((folder / CLEAN_NAME, len(good), len(rows) - len(good)))
    return written
