"""Inspection of clip files: existence, agreement with the manifest, and perceptual hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from endofm.data.manifest import CLIP_MANIFEST_NAME, ClipRow, read_manifest
from endofm.data.perceptual_hashes import HASH_EVERY, frame_hash
from endofm.data.prepare.frame_folders import folder_sha256
from endofm.data.prepare.sources import list_images, require_folder
from endofm.errors import reason
from endofm.hub.download import file_sha256
from endofm.video.find import find_recordings
from endofm.video.open import open_video


@dataclass(frozen=True)
class Inspection:
    """State of one clip's file.

    Attributes:
        kind: ``"missing"``, ``"damaged"`` or empty.
        text: The problem, as a sentence.
        sha256: Current checksum, empty if the file is missing or unreadable.
        hashes: Perceptual hashes, if they were requested or the clip had to be decoded.
    """

    kind: str = ""
    text: str = ""
    sha256: str = ""
    hashes: tuple[int, ...] | None = None


def clip_sha256(path: Path) -> str:
    """Return the checksum of a clip as the manifest defines it, for a file or a folder of frames."""
    return folder_sha256(list_images(path)) if path.is_dir() else file_sha256(path)


def find_sets(root: Path) -> list[Path]:
    """Return the prepared sets of a folder: the folder itself, or its subfolders that hold a manifest.

    Raises:
        InputError: If it is not a folder.
    """
    if (require_folder(root) / CLIP_MANIFEST_NAME).is_file():
        return [root]
    return [path.parent for path in sorted(root.glob(f"*/{CLIP_MANIFEST_NAME}"))] or [root]


class ClipListing(NamedTuple):
    """Clips of a set's folder.

    Attributes:
        rows: The clips.
        unlisted: Video files in the folder that its manifest does not list.
        left_out: Name and sentence for everything else that might have been meant as a clip.
    """

    rows: list[ClipRow]
    unlisted: list[str]
    left_out: list[tuple[str, str]]


def clips_of(folder: Path) -> ClipListing:
    """Return the clips of a set; in a folder without a manifest, every recording is a clip."""
    found = find_recordings(folder)
    if not (folder / CLIP_MANIFEST_NAME).is_file():
        return ClipListing([ClipRow(path=path, video=path) for path in found.paths], [], found.left_out)
    rows = read_manifest(folder / CLIP_MANIFEST_NAME)
    videos = {path for path in found.paths if not (folder / path).is_dir()}
    return ClipListing(rows, sorted(videos - {row.path for row in rows}), found.left_out)


def inspect(folder: Path, row: ClipRow, *, need_hashes: bool) -> Inspection:
    """Inspect one clip; it is decoded only if its checksum differs from the manifest's or its hashes are needed.

    Args:
        folder: The set's folder.
        row: The clip.
        need_hashes: Compute its perceptual hashes.
    """
    path = folder / row.path
    if not path.exists():
        return Inspection("missing", "is in the manifest, but does not exist")
    try:
        sha256 = clip_sha256(path)
    except OSError as error:
        return Inspection("damaged", f"cannot be read ({error})")
    changed = bool(row.sha256) and sha256 != row.sha256
    # An equal checksum proves an equal file, which was decoded completely when it was prepared.
    if row.sha256 and not changed and not need_hashes:
        return Inspection(sha256=sha256)
    count, hashes, problems = _decode(path)
    if row.num_frames and count != row.num_frames:
        problems.append(f"{count} of {row.num_frames} frames can be decoded")
    if changed:
        problems.insert(0, "its content has changed since it was prepared (the checksum differs)")
    if problems:
        return Inspection("damaged", "; ".join(problems), sha256, hashes)
    return Inspection("", "", sha256, hashes)


@dataclass(frozen=True)
class InspectTask:
    """Several clips of a set that one worker inspects.

    Attributes:
        folder: The set's folder.
        rows: The clips.
        first: Index of the first one in the set.
        need_hashes: Compute perceptual hashes.
    """

    folder: Path
    rows: Sequence[ClipRow]
    first: int
    need_hashes: bool


def inspect_some(task: InspectTask) -> list[Inspection]:
    """Inspect several clips, in a worker."""
    return [inspect(task.folder, row, need_hashes=task.need_hashes) for row in task.rows]


def _decode(path: Path) -> tuple[int, tuple[int, ...], list[str]]:
    """Return the number of frames, the hashes and the problems of a clip."""
    # A folder of frames may be a set of stills, whose neighbours differ: every frame counts.
    every = 1 if path.is_dir() else HASH_EVERY
    hashes: list[int] = []
    count = 0
    try:
        with open_video(path) as source:
            for frame in source:
                if count % every == 0:
                    hashes.append(frame_hash(frame.data))
                count += 1
            problems = [text.removeprefix(f"{path}: ") for text in source.problems]
    except Exception as error:
        problems = [reason(error).removeprefix(f"{path}: ")]
    return count, tuple(hashes), problems
