"""Rendering a set to disk: parallel, resumable, with the same bytes for any number of processes."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from endofm._version import __version__
from endofm.errors import ConfigError, EndoFMError, JobError
from endofm.files import write_text
from endofm.json_text import read_json
from endofm.pool import WorkerDied, run_tasks, usable_processors
from endofm.progress import progress_bar
from endofm.resume import LOCK_NAME, exclusive, require_same_settings
from endofm.synthetic.clip_record import ClipRecord
from endofm.synthetic.contact_sheet import Tile, clip_tile, contact_sheet
from endofm.synthetic.image_files import save_image
from endofm.synthetic.layouts import LIST_PATTERNS, layout_of
from endofm.synthetic.population import draw_clip, draw_patient
from endofm.synthetic.render import SyntheticClip, render_clip
from endofm.synthetic.set_plan import PlannedClip, SetSettings, plan_set
from endofm.synthetic.set_readme import README_NAME, write_readme
from endofm.synthetic.specs import NOTICE

RENDER_MANIFEST_NAME = "manifest.json"
CONTACT_SHEET = "contact-sheet.png"
_STATE = ".synth"
_CLIPS_PER_TASK = 8
"""Clips of one task, all of one patient: enough to reuse the patient's tables, few enough to lose little."""
_SHEET_TILES = 24
_ATTEMPTS = 40
"""Draws of a clip until its polyp is in view."""


@dataclass(frozen=True)
class _Task:
    """Some clips of one patient, for one call of a worker."""

    root: str
    settings: SetSettings
    clips: tuple[PlannedClip, ...]
    tiles: tuple[int, ...]


def render_planned(settings: SetSettings, planned: PlannedClip) -> SyntheticClip:
    """Render one clip of a plan; draw again if a fold or the edge of the frame hides the polyp in every frame.

    Raises:
        EndoFMError: If no draw brings the polyp into view.
    """
    patient = draw_patient(settings.render.seed, planned.patient)
    for attempt in range(_ATTEMPTS):
        spec = draw_clip(settings.render, patient, planned.index, has_polyp=planned.has_polyp, attempt=attempt)
        clip = render_clip(spec)
        if clip.label == int(planned.has_polyp):
            return clip
    raise EndoFMError(
        f"clip {planned.index + 1} of {patient.name}: no polyp came into view in {_ATTEMPTS} draws; choose larger "
        "frames or a lower difficulty"
    )


def write_set(
    root: str | Path, settings: SetSettings, *, workers: int | None = None, overwrite: bool = False
) -> list[ClipRecord]:
    """Render a set into a folder, in the layout of its task.

    Clips that an earlier, interrupted run finished there are kept. The bytes do not depend on the number of workers.

    Args:
        root: Folder to create, or in which to resume.
        settings: Settings of the set.
        workers: Number of processes; None uses one per usable processor.
        overwrite: Remove the set that an earlier run rendered there and start over.

    Returns:
        The clips, in order.

    Raises:
        JobError: If the folder is in use, holds other files, or a set of other settings.
        InputError: If the folder cannot be created.
        ConfigError: If ``workers`` is not positive.
        EndoFMError: If a worker dies or a file cannot be written; finished clips are kept.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"the number of workers must be at least 1, got {workers}")
    root = Path(root)
    # Before there is a folder: settings that contradict each other have no plan.
    plan = plan_set(settings)
    try:
        with exclusive(root):
            _claim(root, settings, overwrite)
            return _write_set(root, settings, plan, workers or usable_processors())
    except OSError as error:
        raise EndoFMError(f"{root}: {error}; finished clips are kept, rerun the same command to resume") from error


def _write_set(root: Path, settings: SetSettings, plan: Sequence[PlannedClip], workers: int) -> list[ClipRecord]:
    stored = {clip.index: ClipRecord.load(_record_file(root, clip.index)) for clip in plan}
    done = {i: record for i, record in stored.items() if record is not None and record.complete(root)}
    # The contact sheet takes clips at equal distances. A longer set shows other clips, whose tiles may be missing.
    in_sheet = set(np.linspace(0, len(plan) - 1, min(_SHEET_TILES, len(plan))).round().astype(int).tolist())
    missing = {i for i in in_sheet if not _tile_file(root, i).exists()}
    remaining = [clip for clip in plan if clip.index not in done or clip.index in missing]
    with progress_bar(total=len(plan), description=f"rendering {settings.task} clips", unit="clip") as bar:
        bar.update(len(plan) - len(remaining))
        for task, result in run_tasks(_render_some, _tasks(root, settings, remaining, in_sheet, workers), workers):
            if isinstance(result, WorkerDied):
                numbers = ", ".join(str(clip.index + 1) for clip in task.clips)
                raise EndoFMError(
                    f"{root}: the process that rendered clips {numbers} was killed (out of memory?); finished clips "
                    "are kept, rerun the same command to resume, with fewer --workers if memory is short"
                )
            done.update((record.index, record) for record in result)
            bar.update(len(task.clips))
    records = [done[clip.index] for clip in plan]
    layout_of(settings).write_lists(root, records)
    _write_manifest(root, settings, records)
    _write_sheet(root, settings, sorted(in_sheet), records)
    write_readme(root, settings, records, layout_of(settings).description, CONTACT_SHEET)
    return records


def _claim(root: Path, settings: SetSettings, overwrite: bool) -> None:
    """Claim the folder for these settings, or resume there; the number of clips may grow."""
    requested = {name: value for name, value in settings.to_dict().items() if name != "clips"}
    file = root / _STATE / "settings.json"
    # A run that finished no clip left nothing behind that other settings could contradict.
    if file.exists() and (overwrite or not any((root / _STATE / "clips").glob("*.json"))):
        _clear(root)
        _write_json(file, requested)
    elif file.exists():
        try:
            stored = read_json(file)
        except ValueError:
            raise JobError(f"{file} is damaged; start over with --overwrite") from None
        require_same_settings(root, stored, requested, remedy="start over with --overwrite")
    elif any(path.name != LOCK_NAME for path in root.iterdir()):
        raise JobError(f"{root} is not empty and holds no rendered set; choose another folder")
    else:
        _write_json(file, requested)


def _clear(root: Path) -> None:
    """Remove the files of a rendered set and the folders that are empty without them, and nothing else."""
    records = [ClipRecord.load(path) for path in (root / _STATE / "clips").glob("*.json")]
    files = {root / name for record in records if record is not None for name, _, _ in record.files}
    files |= {root / name for name in (RENDER_MANIFEST_NAME, CONTACT_SHEET, README_NAME)}
    for pattern in LIST_PATTERNS:
        files |= set(root.glob(pattern))
    for path in files:
        path.unlink(missing_ok=True)
    shutil.rmtree(root / _STATE)
    # Deepest folders first, so that a folder of empty folders goes as well; one that holds anything else stays.
    for folder in sorted({parent for path in files for parent in path.parents}, key=lambda p: -len(p.parts)):
        if root in folder.parents and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _tasks(
    root: Path, settings: SetSettings, clips: Sequence[PlannedClip], in_sheet: set[int], workers: int
) -> list[_Task]:
    """Return tasks of one patient each, ordered so that each worker mostly renders the same patients."""
    by_patient: dict[int, list[PlannedClip]] = {}
    for clip in clips:
        by_patient.setdefault(clip.patient, []).append(clip)
    # One lane per worker; a patient goes to the shortest lane. Taking one task of every lane in turn, workers that
    # fetch tasks in order come back to their own lane and find the patient's tables in their cache.
    lanes: list[list[_Task]] = [[] for _ in range(workers)]
    for patient_clips in by_patient.values():
        lane = min(lanes, key=len)
        for first in range(0, len(patient_clips), _CLIPS_PER_TASK):
            piece = tuple(patient_clips[first : first + _CLIPS_PER_TASK])
            lane.append(_Task(str(root), settings, piece, tuple(c.index for c in piece if c.index in in_sheet)))
    longest = max(len(lane) for lane in lanes)
    return [lane[k] for k in range(longest) for lane in lanes if k < len(lane)]


def _render_some(task: _Task) -> list[ClipRecord]:
    # Ctrl-C in a terminal reaches workers as well, but only the main process should react: it stops them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    root, layout, records = Path(task.root), layout_of(task.settings), []
    for planned in task.clips:
        clip = render_planned(task.settings, planned)
        paths = layout.write_clip(root, planned, clip)
        record = ClipRecord.of(root, planned, clip, paths)
        if planned.index in task.tiles:
            save_image(_tile_file(root, planned.index), clip_tile(clip, planned.index).picture)
        # Last, because the record marks the clip as finished.
        record.save(_record_file(root, planned.index))
        records.append(record)
    return records


def _record_file(root: Path, index: int) -> Path:
    return root / _STATE / "clips" / f"{index + 1:05d}.json"


def _tile_file(root: Path, index: int) -> Path:
    return root / _STATE / "tiles" / f"{index + 1:05d}.png"


def _write_json(path: Path, values: Any) -> None:
    write_text(path, json.dumps(values, indent=1) + "\n")


def _write_manifest(root: Path, settings: SetSettings, records: Sequence[ClipRecord]) -> None:
    clips = []
    for record in records:
        values = asdict(record)
        values["files"] = [{"path": p, "sha256": digest, "bytes": size} for p, digest, size in record.files]
        clips.append(values)
    patients = [asdict(draw_patient(settings.render.seed, i)) for i in range(settings.patients)]
    header = {"format_version": 1, "synthetic": True, "notice": NOTICE, "generator": f"endofm {__version__}"}
    _write_json(
        root / RENDER_MANIFEST_NAME, {**header, "settings": settings.to_dict(), "patients": patients, "clips": clips}
    )


def _write_sheet(root: Path, settings: SetSettings, indices: Sequence[int], records: Sequence[ClipRecord]) -> None:
    tiles = []
    for index in indices:
        with Image.open(_tile_file(root, index), formats=["PNG"]) as picture:
            tiles.append(Tile(np.asarray(picture.convert("RGB")), _caption(records[index])))
    render = settings.render
    title = (
        f"{settings.task}, {settings.clips} clips, {settings.patients} patients, {render.width} x {render.height}, "
        f"{render.num_frames} frames, difficulty {render.difficulty:g}, seed {render.seed}; "
        "k/n: polyp in view in k of n frames"
    )
    save_image(root / CONTACT_SHEET, np.asarray(contact_sheet(tiles, title)))


def _caption(record: ClipRecord) -> tuple[str, str]:
    visible = sum(frame is not None for frame in record.frames)
    content = f"{record.kind}, {visible}/{len(record.frames)}" if record.label else "no polyp"
    return content, f"clip {record.index + 1}, {record.patient}, {record.split}"
