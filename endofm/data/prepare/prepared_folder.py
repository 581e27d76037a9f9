"""State of a prepared folder between runs: finished sources and the numbers of their clips."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from endofm.address import Address
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.source_record import SourceRecord, fingerprint
from endofm.data.prepare.sources import SourceItem
from endofm.errors import JobError
from endofm.files import write_text
from endofm.json_text import read_json
from endofm.resume import require_same_settings
from endofm.video.find import natural_key

STATE_FOLDER = ".prepare"
_NUMBERED = re.compile(r"[0-9]{5,}\.mp4")


class PreparedFolder:
    """The state of a folder of prepared clips.

    Clips are written below ``.prepare/<key>/`` and get their final name when all sources of a run are finished. Numbers
    are permanent: sources that are added later get the numbers that follow.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / STATE_FOLDER
        self._names_file = self.state / "names.json"
        self._names: dict[str, list[str]] = self._read(self._names_file) or {}

    def open(self, set_name: str, clip_format: ClipFormat, further: Mapping[str, Any] | None = None) -> None:
        """Claim the folder for one set and one clip format, or resume there.

        Args:
            set_name: Name of the set.
            clip_format: Form of the clips.
            further: Further settings that the clips depend on.

        Raises:
            JobError: If it holds another set, another clip format, or clips that this command did not write.
        """
        settings = {"set": set_name, "clip_format": asdict(clip_format), **(further or {})}
        file = self.state / "settings.json"
        found = self._read(file)
        if found is None:
            if any(self.root.glob("[0-9][0-9][0-9][0-9][0-9].mp4")):
                raise JobError(f"{self.root} holds clips of another origin; choose an empty folder")
            self._write(file, settings)
        elif found != settings and not self._names and not self._records():
            # An earlier run that finished nothing left nothing behind that other settings could contradict.
            self.clear()
            self._write(file, settings)
        else:
            require_same_settings(self.root, found, settings, remedy="start over with --overwrite")

    def clear(self) -> None:
        """Remove everything that earlier runs wrote here, and nothing else."""
        for names in self._names.values():
            for name in names:
                (self.root / name).unlink(missing_ok=True)
        if self.state.is_dir():
            shutil.rmtree(self.state)
        self._names = {}

    def key(self, item: SourceItem) -> str:
        """Return the name of a source's record and staging folder."""
        # A hash, because paths of sources hold slashes and can be too long for a file name.
        return hashlib.sha256(item.source.encode("utf-8", "surrogateescape")).hexdigest()[:20]

    def staging(self, item: SourceItem) -> Path:
        """Return the folder that a source's clips are written to."""
        return self.state / self.key(item)

    def record_file(self, item: SourceItem) -> Path:
        """Return the record file whose existence marks a source as finished."""
        return self.state / f"{self.key(item)}.json"

    def done(self, source_root: Path | Address, item: SourceItem, clip_format: ClipFormat) -> bool:
        """Return whether a source is finished: unchanged since, with every file written for it present at its size."""
        record = SourceRecord.from_file(self.record_file(item))
        if record is None:
            return False
        try:
            if record.fingerprint != fingerprint(source_root, item, clip_format):
                return False
            names = self._names.get(self.key(item), [])
            for index, (name, size) in enumerate(record.files):
                # Files of an interrupted run are still in the staging folder, those of a finished one are published.
                staged = self.staging(item) / name
                file = staged if staged.exists() or index >= len(names) else self.root / names[index]
                if file.stat().st_size != size:
                    return False
        except OSError:
            return False
        return True

    def prepare_staging(self, item: SourceItem) -> Path:
        """Return an empty folder for a source's clips; leftovers of an earlier run are removed."""
        # The record first: without it the source counts as unfinished, whatever happens next.
        self.record_file(item).unlink(missing_ok=True)
        folder = self.staging(item)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder

    def publish(self, items: Sequence[SourceItem]) -> list[SourceRecord]:
        """Give the clips of all finished sources their final names.

        Args:
            items: Sources of this run; their labels and names replace those in older records.

        Returns:
            Records of all sources that were ever finished here, in the order of their clips and with final paths.
        """
        current = {item.source: item for item in items}
        records = self._records()
        records = [replace(record, item=current.get(record.item.source, record.item)) for record in records]
        records.sort(key=lambda record: natural_key(record.item.source))
        self._assign(records)
        # Names are stored before any file is moved, so that an interruption in between cannot give them out twice.
        self._write(self._names_file, self._names)
        finished = [self._publish(record) for record in records]
        return sorted(finished, key=lambda record: natural_key(self._names[self.key(record.item)][0]))

    def _records(self) -> list[SourceRecord]:
        return [record for path in self.state.glob("*.json") if (record := SourceRecord.from_file(path)) is not None]

    def _publish(self, record: SourceRecord) -> SourceRecord:
        item, names = record.item, self._names[self.key(record.item)]
        for (staged, _), name in zip(record.files, names, strict=True):
            file, target = self.staging(item) / staged, self.root / name
            # Files that are missing here were moved by an earlier run.
            if file.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
        if self.staging(item).exists():
            shutil.rmtree(self.staging(item))
        final = dict(zip((name for name, _ in record.files), names, strict=True))
        rows = (
            replace(
                row,
                path=final.get(row.path, row.path),
                label=item.label,
                split=item.split,
                patient=item.patient,
                video=item.video,
            )
            for row in record.clips
        )
        return replace(record, clips=tuple(rows))

    def _assign(self, records: Sequence[SourceRecord]) -> None:
        """Assign names to the files that have none."""
        for record in records:
            old = self._names.get(self.key(record.item), [])
            if len(old) != len(record.files):  # The source has changed and was prepared again.
                for name in old:
                    (self.root / name).unlink(missing_ok=True)
                self._names.pop(self.key(record.item), None)
        numbers = (
            int(Path(name).stem) for names in self._names.values() for name in names if _NUMBERED.fullmatch(name)
        )
        last = max(numbers, default=0)
        for record in records:
            if record.item.target:
                self._names[self.key(record.item)] = [name for name, _ in record.files]
            elif self.key(record.item) not in self._names:
                count = len(record.files)
                self._names[self.key(record.item)] = [f"{last + number:05}.mp4" for number in range(1, count + 1)]
                last += count

    @staticmethod
    def _read(path: Path) -> Any:
        try:
            return read_json(path)
        except (OSError, ValueError):
            return None

    @staticmethod
    def _write(path: Path, values: object) -> None:
        write_text(path, json.dumps(values, indent=1))
