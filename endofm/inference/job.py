"""Features of many videos into one folder: restartable, and one bad file does not stop the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from endofm.errors import EndoFMError, InputError
from endofm.files import atomic_path, remove_partial
from endofm.inference.video_paths import VideoItem
from endofm.pool import WorkerDied, run_tasks
from endofm.progress import progress_bar
from endofm.tasks.features.results import VideoFeatures

MANIFEST_NAME = "manifest.json"
_LOCK_NAME = ".endofm-lock"
_FORMAT_VERSION = 1

Extract = Callable[[VideoItem, Path], VideoFeatures]
"""Embeds one video and writes its feature file (and what belongs to it) to the given path."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What became of one video; one row of the manifest.

    Attributes:
        source: Path of the video.
        output: Name of the feature file in the output folder.
        status: ``"done"`` or ``"failed"``.
        size_bytes: Size of the source, to notice that it has changed; -1 for a folder of frames.
        modified: Time of change of the source, nanoseconds.
        clips: Number of clips.
        seconds: Time that the clips cover, in seconds.
        problems: What could not be decoded, one sentence each.
        error: Why it failed, empty if it did not.
    """

    source: str
    output: str
    status: Literal["done", "failed"]
    size_bytes: int
    modified: int
    clips: int = 0
    seconds: float = 0.0
    problems: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class JobReport:
    """Outcome of one run.

    Attributes:
        entries: Every video of this run, in the order given.
        skipped: How many of them were done by an earlier run.
    """

    entries: tuple[Entry, ...]
    skipped: int

    @property
    def failed(self) -> tuple[Entry, ...]:
        """The videos without a feature file."""
        return tuple(entry for entry in self.entries if entry.status == "failed")


def run_job(
    items: Sequence[VideoItem],
    out: str | Path,
    extract: Extract,
    *,
    suffix: str,
    settings: Mapping[str, Any],
    companion: str = "",
    jobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> JobReport:
    """Embed videos one after the other, or several at a time, and keep a manifest of what is done.

    The manifest is written anew after every video, and feature files appear under their names only when they are
    whole. A run that was stopped in any way goes on with the videos that are missing.

    Args:
        items: Videos, with distinct output names.
        out: Folder for the feature files; created if missing.
        extract: The work on one video; with several jobs it must be picklable, as it runs in processes of its own.
        suffix: Suffix of the feature files, which chooses their format.
        settings: Everything that the features depend on, plain JSON values. A folder holds features of one setting.
        companion: What the name of a further file adds to that of its feature file, if ``extract`` writes one; a video
            without it is not done.
        jobs: Processes that work side by side; 1 works in this process.
        overwrite: Begin anew, even with other settings.
        progress: Show a progress bar over the videos.

    Raises:
        InputError: If the folder holds features of other settings, or another run is writing to it.
    """
    out = Path(out)
    if jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: this folder cannot be made ({error})") from error
    with _alone(out):
        remove_partial(out, below=True)  # of a run that was killed
        known = {} if overwrite else _read_manifest(out, settings)
        tasks = [item for item in items if not _is_done(item, known.get(item.output + suffix), out, companion)]
        skipped = len(items) - len(tasks)
        work = partial(_embed_one, extract=extract, out=out, suffix=suffix)
        results = ((task, work(task)) for task in tasks) if jobs == 1 else run_tasks(work, tasks, jobs)
        with progress_bar(total=len(items), description="Videos", unit="video", disable=not progress) as bar:
            bar.update(skipped)
            for item, result in results:
                if isinstance(result, WorkerDied):
                    result = _failure(item, suffix, "the process that read it was killed (a crash or lack of memory)")
                known[result.output] = result
                _write_manifest(out, settings, known)
                bar.update(1)
        if not tasks:
            _write_manifest(out, settings, known)
    return JobReport(tuple(known[item.output + suffix] for item in items), skipped)


def read_entries(out: str | Path) -> list[Entry]:
    """Return the videos whose features are in a folder.

    Args:
        out: Folder that :func:`run_job` has filled.

    Raises:
        InputError: If it has no manifest of an extraction.
    """
    return [entry for entry in _parse_manifest(Path(out) / MANIFEST_NAME)[1] if entry.status == "done"]


def _embed_one(item: VideoItem, *, extract: Extract, out: Path, suffix: str) -> Entry:
    try:
        features = extract(item, out / (item.output + suffix))
    except EndoFMError as error:
        return _failure(item, suffix, str(error))
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        # Not a message of ours, so say of what kind it is; the other videos must not suffer.
        return _failure(item, suffix, f"{item.path}: unexpected {type(error).__name__}: {error}")
    size, modified = _state(item.path)
    return Entry(
        source=str(item.path),
        output=item.output + suffix,
        status="done",
        size_bytes=size,
        modified=modified,
        clips=len(features),
        seconds=float(features.end_seconds[-1]) if len(features) else 0.0,
        problems=features.problems,
    )


def _failure(item: VideoItem, suffix: str, error: str) -> Entry:
    size, modified = _state(item.path)
    output = item.output + suffix
    return Entry(source=str(item.path), output=output, status="failed", size_bytes=size, modified=modified, error=error)


def _state(path: Path) -> tuple[int, int]:
    """Return what changes when a source changes: size in bytes (-1 for a folder) and time of change."""
    try:
        state = path.stat()
    except OSError:
        return -1, 0
    return state.st_size if path.is_file() else -1, state.st_mtime_ns


def _is_done(item: VideoItem, entry: Entry | None, out: Path, companion: str) -> bool:
    if entry is None or entry.status != "done" or _state(item.path) != (entry.size_bytes, entry.modified):
        return False
    return (out / entry.output).is_file() and (out / (entry.output + companion)).is_file()


def _read_manifest(out: Path, settings: Mapping[str, Any]) -> dict[str, Entry]:
    if not (out / MANIFEST_NAME).exists():
        return {}
    found, entries = _parse_manifest(out / MANIFEST_NAME)
    asked = json.loads(json.dumps(dict(settings)))
    if found != asked:
        differing = sorted(key for key in {*found, *asked} if found.get(key) != asked.get(key))
        told = "; ".join(f"{key} was {found.get(key)!r} and is now {asked.get(key)!r}" for key in differing)
        raise InputError(
            f"{out} holds features of other settings ({told}); choose another output folder, or pass --overwrite to "
            f"replace them"
        )
    return {entry.output: entry for entry in entries}


def _parse_manifest(path: Path) -> tuple[dict[str, Any], list[Entry]]:
    """Return the settings and the videos of a manifest."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return values["settings"], [Entry(**{**v, "problems": tuple(v["problems"])}) for v in values["videos"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: this is not the manifest of an extraction ({error}); choose another output folder"
        ) from error


def _write_manifest(out: Path, settings: Mapping[str, Any], known: Mapping[str, Entry]) -> None:
    values = {
        "format_version": _FORMAT_VERSION,
        "settings": dict(settings),
        "videos": [asdict(known[output]) for output in sorted(known)],
    }
    with atomic_path(out / MANIFEST_NAME) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when a process dies in whatever way.

    The empty file stays: whoever removed it could take it from under another run that is waiting for it.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported without __all__

    lock = WeakFileLock(out / _LOCK_NAME, timeout=1.0)
    try:
        lock.__enter__()
    except TimeoutError as error:
        raise InputError(
            f"{out}: another extraction is writing to this folder; wait for it or choose another"
        ) from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)
