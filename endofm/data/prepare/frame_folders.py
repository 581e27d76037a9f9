"""Folders of frames, for data sets whose images are kept instead of encoded as video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from endofm.data.manifest import ClipRow, joint_checksum
from endofm.data.perceptual_hashes import frame_hash
from endofm.data.prepare.source_record import SourceRecord
from endofm.data.prepare.sources import SourceItem
from endofm.hub.download import file_sha256
from endofm.video.frames import UInt8Array
from endofm.video.images import image_to_rgb, open_image

NOMINAL_FPS = 30.0
"""Frames per second of images whose true rate is unknown."""


def read_frame(path: Path) -> UInt8Array:
    """Return an image file as uint8 ``(height, width, 3)``, RGB.

    Raises:
        VideoError: If it cannot be read.
    """
    with open_image(path) as image:
        return image_to_rgb(image, str(path))


def folder_sha256(files: Sequence[Path]) -> str:
    """Return the checksum of a folder of frames; see :func:`~endofm.data.manifest.joint_checksum`."""
    return joint_checksum([file_sha256(file) for file in files])


@dataclass
class FrameFolder:
    """Collects the frames of one clip while they are written.

    Args:
        item: The source.
        staging: Folder that it is written to.
    """

    item: SourceItem
    staging: Path
    files: list[Path] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)

    def add(self, file: Path, frame: UInt8Array, position: int) -> None:
        """Record a frame that was written as ``file``; ``position`` is its index among the images of the source."""
        height, width = frame.shape[:2]
        self.size = (width, height)
        self.files.append(file)
        self.positions.append(position)
        self.hashes.append(frame_hash(frame))

    def record(self) -> SourceRecord:
        """Return the record of the source; without clips if there is no frame."""
        if not self.files:
            return SourceRecord(self.item, (), (), (*self.problems, *self.dropped) or ("there are no frames in it",))
        row = ClipRow(
            path=self.item.target,
            num_frames=len(self.files),
            width=self.size[0],
            height=self.size[1],
            fps=NOMINAL_FPS,
            source=self.item.source,
            source_first_frame=self.positions[0],
            source_last_frame=self.positions[-1],
            source_start_seconds=round(self.positions[0] / NOMINAL_FPS, 6),
            source_end_seconds=round((self.positions[-1] + 1) / NOMINAL_FPS, 6),
            skipped_frames=self.positions[-1] - self.positions[0] + 1 - len(self.positions),
            size_bytes=sum(file.stat().st_size for file in self.files),
            sha256=folder_sha256(self.files),
        )
        return SourceRecord(self.item, (row,), (tuple(self.hashes),), tuple(self.problems), tuple(self.dropped))
