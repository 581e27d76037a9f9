"""What is missing, damaged, doubled or shared in prepared data."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from endofm._version import __version__
from endofm.data.clip_files import Inspection, InspectTask, clips_of, find_sets, inspect_some
from endofm.data.manifest import CLIP_MANIFEST_NAME, ClipRow, read_manifest, write_manifest
from endofm.data.perceptual_hashes import ClipHashes, read_hashes, write_hashes
from endofm.data.similar_clips import find_similar
from endofm.files import write_text
from endofm.pool import WorkerDied, run_tasks, usable_processors
from endofm.progress import progress_bar

REPORT_NAME = "check.json"
CLEAN_NAME = "clean.csv"
KINDS = {
    "missing": "listed, but not there",
    "damaged": "not what was prepared, or not to be decoded",
    "unlisted": "there, but not listed",
    "duplicate": "same file as another clip",
    "near-duplicate": "shows what another recording of the set shows",
    "overlap": "shows what a clip of another set shows",
}
"""What each kind of finding means."""

_ROWS_PER_TASK = 16


@dataclass(frozen=True)
class CheckFinding:
    """One thing that is wrong.

    Attributes:
        kind: One of :data:`KINDS`.
        clip: Path of the clip.
        other: Path of the clip that it is the same as, else empty.
        text: More about it, as a sentence.
        share: For similar clips: share of the frames of the shorter one that are found in the other, else None.
    """

    kind: str
    clip: str
    other: str = ""
    text: str = ""
    share: float | None = None


@dataclass(frozen=True)
class CheckReport:
    """Outcome of a check; stored as ``check.json``.

    Attributes:
        folder: Folder that was checked.
        clips: Number of its clips.
        against: Folders that it was compared with.
        findings: What was found.
    """

    folder: str
    clips: int
    against: tuple[str, ...]
    findings: tuple[CheckFinding, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each kind that occurs, in the order of :data:`KINDS`."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}


@dataclass(frozen=True)
class _Set:
    """One set in a check."""

    folder: Path
    rows: list[ClipRow]
    unlisted: list[str]
    states: list[Inspection]
    hashes: ClipHashes

    def path(self, place: int) -> str:
        return (self.folder / self.rows[place].path).as_posix()


def check(
    folder: str | Path, against: Sequence[str | Path] = (), *, jobs: int | None = None, progress: bool = True
) -> CheckReport:
    """Check prepared data, and compare it with other data.

    Args:
        folder: A prepared set, a folder of prepared sets, or any folder of videos or frames.
        against: Likewise, other data that must not show the same recordings, e.g. a downstream set. Of these only what
            they show is looked at.
        jobs: Processes that work side by side; by default one per core.
        progress: Show a progress bar.

    Returns:
        What was found, also written to ``check.json`` in ``folder``.

    Raises:
        InputError: If one of the folders is missing or its manifest cannot be read.
    """
    folder = Path(folder)
    jobs = jobs or usable_processors()
    own = [_look(path, jobs, verify=True, progress=progress) for path in find_sets(folder)]
    others = [_look(path, jobs, verify=False, progress=progress) for root in against for path in find_sets(Path(root))]
    findings = [finding for one in own for finding in _own_findings(one)]
    findings += _shared(own, others)
    findings.sort(key=lambda finding: list(KINDS).index(finding.kind))
    clips = sum(len(one.rows) for one in own)
    report = CheckReport(str(folder), clips, tuple(str(root) for root in against), tuple(findings))
    text = json.dumps({"endofm_version": __version__, **asdict(report)}, indent=1)
    write_text(folder / REPORT_NAME, text + "\n")
    return report


def _look(folder: Path, jobs: int, *, verify: bool, progress: bool) -> _Set:
    """Look at the clips of a set; with ``verify`` at every file, else only as far as their hashes are not known."""
    rows, unlisted = clips_of(folder)
    stored = read_hashes(folder, rows)
    if stored is not None and not verify:
        return _Set(folder, rows, unlisted, [Inspection(sha256=row.sha256) for row in rows], stored)
    tasks = [
        InspectTask(folder, rows[first : first + _ROWS_PER_TASK], first, stored is None)
        for first in range(0, len(rows), _ROWS_PER_TASK)
    ]
    found: dict[int, list[Inspection]] = {}
    with progress_bar(total=len(rows), description=f"Checking {folder.name}", unit="clip", disable=not progress) as bar:
        for task, result in run_tasks(inspect_some, tasks, jobs):
            found[task.first] = _one_by_one(task) if isinstance(result, WorkerDied) else result
            bar.update(len(task.rows))
    states = [state for _, some in sorted(found.items()) for state in some]
    if stored is None:
        stored = ClipHashes.join([state.hashes or () for state in states])
        if (folder / CLIP_MANIFEST_NAME).is_file() and not any(state.kind for state in states):
            write_hashes(folder, rows, stored)
    return _Set(folder, rows, unlisted, states, stored)


def _one_by_one(task: InspectTask) -> list[Inspection]:
    """Look at each clip in a process of its own, since one of them brings the decoder down."""
    tasks = [InspectTask(task.folder, [row], first, task.need_hashes) for first, row in enumerate(task.rows)]
    found = {
        one.first: Inspection("damaged", "crashes the decoder") if isinstance(result, WorkerDied) else result[0]
        for one, result in run_tasks(inspect_some, tasks, 1)
    }
    return [found[place] for place in range(len(tasks))]


def _own_findings(one: _Set) -> list[CheckFinding]:
    """Return what is wrong within a set, apart from what its clips show."""
    found = [
        CheckFinding(state.kind, one.path(place), text=state.text)
        for place, state in enumerate(one.states)
        if state.kind
    ]
    return found + [CheckFinding("unlisted", (one.folder / name).as_posix()) for name in one.unlisted]


def _shared(own: Sequence[_Set], others: Sequence[_Set]) -> list[CheckFinding]:
    """Return the clips that are the same file, or show the same, within and between sets."""
    sets = [*own, *others]
    names = [one.path(place) for one in sets for place in range(len(one.rows))]
    checksums = [state.sha256 for one in sets for state in one.states]
    number = np.repeat(np.arange(len(sets)), [len(one.rows) for one in sets])
    ours = sum(len(one.rows) for one in own)
    found: list[CheckFinding] = []
    same: set[tuple[int, int]] = set()
    by_checksum: dict[str, list[int]] = defaultdict(list)
    for place, checksum in enumerate(checksums):
        if checksum:
            by_checksum[checksum].append(place)
    for places in by_checksum.values():
        for place in places[1:]:
            if places[0] < ours:
                same.add((places[0], place))
                kind = "duplicate" if number[place] == number[places[0]] else "overlap"
                found.append(CheckFinding(kind, names[places[0]], names[place], "the same file", 1.0))
    groups = [f"{i} {row.patient or row.video or row.path}" for i, one in enumerate(sets) for row in one.rows]
    for similar in find_similar(_join([one.hashes for one in sets]), groups):
        if similar.first >= ours or (similar.first, similar.second) in same:
            continue
        kind = "near-duplicate" if number[similar.first] == number[similar.second] else "overlap"
        text = f"{similar.share:.0%} of the frames of the shorter one, {similar.bits:.0f} of 128 bits apart"
        found.append(CheckFinding(kind, names[similar.first], names[similar.second], text, round(similar.share, 4)))
    return found


def _join(parts: Sequence[ClipHashes]) -> ClipHashes:
    offsets = np.cumsum([0, *(len(part.hashes) for part in parts)])
    hashes = np.concatenate([part.hashes for part in parts])
    return ClipHashes(hashes, np.concatenate([part.ends + low for part, low in zip(parts, offsets, strict=False)]))


def write_clean(report: CheckReport) -> list[tuple[Path, int, int]]:
    """Write ``clean.csv`` beside each manifest of the checked folder; the manifest itself and all files stay.

    Left out are clips that are missing or damaged, all but one of several equal files, and clips that show what the
    other data show which were checked against. Similar clips within the folder stay: keep them on one side of a split.

    Args:
        report: From :func:`~endofm.data.check.check`.

    Returns:
        For each set the file, the number of clips in it, and the number that was left out.
    """
    written = []
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
