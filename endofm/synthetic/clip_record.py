"""Record of a rendered and written clip, for lists, manifest and resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from endofm.files import write_text
from endofm.json_text import read_json
from endofm.synthetic.render import Box, SyntheticClip
from endofm.synthetic.set_plan import PlannedClip, Split


@dataclass(frozen=True)
class FrameRecord:
    """The polyp in one frame.

    Attributes:
        box: ``(x0, y0, x1, y1)`` in pixels: the first column and row inside, and the first ones outside.
        area: Number of pixels of its mask.
        name: Its class.
    """

    box: Box
    area: int
    name: str


@dataclass(frozen=True)
class ClipRecord:
    """One written clip.

    Attributes:
        index: Number of the clip.
        patient: Name of its patient.
        split: Its subset.
        label: 1 if a polyp comes into view.
        kind: ``"none"``, or shape and histology.
        width: Frame width in pixels.
        height: Frame height in pixels.
        fps: Frames per second.
        frames: For each frame its polyp, or None.
        files: Path below the set's folder, sha256 and size in bytes of each file.
        parameters: Lesion, camera and artefacts as plain JSON values.
    """

    index: int
    patient: str
    split: Split
    label: int
    kind: str
    width: int
    height: int
    fps: float
    frames: tuple[FrameRecord | None, ...]
    files: tuple[tuple[str, str, int], ...]
    parameters: dict[str, Any]

    @classmethod
    def of(cls, root: Path, planned: PlannedClip, clip: SyntheticClip, paths: Sequence[str]) -> ClipRecord:
        """Describe a clip whose files have just been written below ``root``."""
        frames: list[FrameRecord | None] = []
        for mask, boxes, names in zip(clip.masks, clip.boxes, clip.class_names, strict=True):
            frames.append(FrameRecord(boxes[0], int(np.count_nonzero(mask)), names[0]) if boxes else None)
        files = []
        for path in paths:
            data = (root / path).read_bytes()
            files.append((path, hashlib.sha256(data).hexdigest(), len(data)))
        parameters = {name: clip.parameters[name] for name in ("lesion", "camera", "artefacts")}
        _, height, width, _ = clip.frames.shape
        return cls(
            index=planned.index,
            patient=clip.patient,
            split=planned.split,
            label=clip.label,
            kind=clip.kind,
            width=width,
            height=height,
            fps=clip.parameters["config"]["fps"],
            frames=tuple(frames),
            files=tuple(files),
            parameters=parameters,
        )

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        write_text(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> ClipRecord | None:
        """Read a record; None if it is missing or damaged, so that its clip is rendered again."""
        try:
            values = read_json(path)
            frames = tuple(
                None if f is None else FrameRecord(tuple(f["box"]), f["area"], f["name"]) for f in values["frames"]
            )
            files = tuple((name, digest, size) for name, digest, size in values["files"])
            return cls(**{**values, "frames": frames, "files": files})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def complete(self, root: Path) -> bool:
        """Return whether all files exist at their sizes."""
        try:
            return all((root / name).stat().st_size == size for name, _, size in self.files)
        except OSError:
            return False
