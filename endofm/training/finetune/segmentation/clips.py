"""Clips with masks: reading their lists, pairing frames with masks, reading both.

A list is

- a CSV file with the columns ``frames,masks`` and, if known, ``patient``: of each clip the folder of its images or its
  video, and the folder of its masks or the video of its masks;
- a text file of the original, with a line ``<anything> <first> <number> -1`` per clip: numbered files
  ``Original/<i>.tif`` and ``Ground Truth/<i>.tif``;
- a folder that holds such lists, by the name of one of them: ``prepared/cvc-12k#train_without_test``. Without a name it
  is the list of the part that is asked for (train, val, test). Of CVC-ClinicDB as it is downloaded, which holds no
  lists, the original's are known.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from endofm.data.prepare.cvc import LISTS
from endofm.errors import InputError
from endofm.video.find import IMAGE_SUFFIXES
from endofm.video.images import natural_order

Medium = tuple[Path, ...] | Path
"""Image files in order, or a video file."""

_ORIGINAL = re.compile(r"\S.*\s(\d+)\s+(\d+)\s+-1\s*")


@dataclass(frozen=True)
class MaskedClip:
    """A clip with a mask for every frame.

    Attributes:
        id: Name, for messages and reports.
        group: Patient or video; clips of one group are never in different parts of a split.
        frames: Where the frames are.
        masks: Where the masks are, of the same number.
        count: Number of frames.
    """

    id: str
    group: str
    frames: Medium
    masks: Medium
    count: int


def read_list(source: str | Path, *, part: str, root: str | Path | None = None) -> list[MaskedClip]:
    """Return the clips of a list, after checking that every frame has a mask.

    Args:
        source: The list; see above.
        part: ``"train"``, ``"val"`` or ``"test"``: which list of a folder is meant.
        root: Folder that paths in the list are relative to; the list's own by default.

    Raises:
        InputError: If there is no such list, or a line of it is not right; the message names file and line.
    """
    text, _, name = str(source).partition("#")
    path = Path(text)
    if path.is_dir():
        return _read_folder(path, name or part, root)
    if name:
        raise InputError(f"{source}: {path} is no folder that could hold a list {name!r}")
    if not path.is_file():
        raise InputError(f"{source}: there is no such list or folder")
    clips = list(_read_csv(path, root) if path.suffix.lower() == ".csv" else _read_original(path, root))
    if not clips:
        raise InputError(f"{source}: there are no clips in this list")
    return clips


def _read_folder(folder: Path, name: str, root: str | Path | None) -> list[MaskedClip]:
    for candidate in (folder / f"{name}.csv", folder / "lists" / f"{name}.txt"):
        if candidate.is_file():
            return read_list(candidate, part=name, root=root or folder)
    images = _originals(folder)
    if images is not None and name in LISTS:
        return [_numbered(images, first, count, f"{folder}: list {name}") for first, count in LISTS[name]]
    there = sorted(
        path.stem for path in (*folder.glob("*.csv"), *folder.glob("lists/*.txt")) if path.stem != "manifest"
    )
    known = f"; it has {', '.join(there)}" if there else ""
    raise InputError(
        f"{folder}: this folder has no list {name!r}{known}. Name one, as in {folder}#{(there or ['train'])[0]}, or "
        f"give the CSV file"
    )


def _read_csv(path: Path, root: str | Path | None) -> Iterator[MaskedClip]:
    base = Path(root) if root is not None else path.parent
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this list cannot be read ({error})") from error
    rows = csv.DictReader(text.splitlines())
    missing = {"frames", "masks"} - set(rows.fieldnames or ())
    if missing:
        raise InputError(
            f"{path}: the first line must name the columns frames,masks and, if known, patient; "
            f"{' and '.join(sorted(missing))} is missing"
        )
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        frames, masks = (row.get(column) or "" for column in ("frames", "masks"))
        if not frames or not masks:
            raise InputError(f"{where}: a clip needs both frames and masks")
        yield _paired(base / frames, base / masks, (row.get("patient") or "").strip() or frames, frames, where)


def _paired(frames: Path, masks: Path, group: str, name: str, where: str) -> MaskedClip:
    seen, drawn = _medium(frames, where), _medium(masks, where)
    counts = [_count(medium, where) for medium in (seen, drawn)]
    if counts[0] != counts[1]:
        raise InputError(
            f"{where}: {frames} has {counts[0]} frames, but {masks} has {counts[1]} masks; every frame needs one"
        )
    if isinstance(seen, tuple) and isinstance(drawn, tuple):
        pairs = [(a, b) for a, b in zip(seen, drawn, strict=True) if a.stem != b.stem]
        stems = {mask.stem for mask in drawn}
        # Other names altogether are fine; the same names in another order are a frame or a mask that is missing.
        if pairs and any(frame.stem in stems for frame in seen):
            raise InputError(
                f"{where}: the frame {pairs[0][0]} would be paired with the mask {pairs[0][1]}; give a frame and its "
                f"mask the same name"
            )
    return MaskedClip(name, group, seen, drawn, counts[0])


def _medium(path: Path, where: str) -> Medium:
    if path.is_dir():
        files = natural_order(
            file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        )
        if not files:
            raise InputError(f"{where}: there are no images in the folder {path}")
        return tuple(files)
    if not path.is_file():
        raise InputError(f"{where}: there is no such folder or video: {path}")
    return (path,) if path.suffix.lower() in IMAGE_SUFFIXES else path


def _count(medium: Medium, where: str) -> int:
    if isinstance(medium, tuple):
        return len(medium)
    from endofm.errors import VideoError
    from endofm.video.open import open_video

    try:
        with open_video(medium) as video:
            return len(video.frame_times())
    except VideoError as error:
        raise InputError(f"{where}: {error}") from error


def _read_original(path: Path, root: str | Path | None) -> Iterator[MaskedClip]:
    folders = [Path(root)] if root is not None else [path.parent, path.parent.parent]
    images = next((found for folder in folders if (found := _originals(folder)) is not None), None)
    if images is None:
        raise InputError(
            f"{path}: no folder Original beside a folder Ground Truth was found in {folders[-1]}; name the folder of "
            f"CVC-ClinicDB with data.root"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: this list cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _ORIGINAL.fullmatch(line)
        if match is None:
            raise InputError(
                f"{path}, line {number}: expected `<folder> <first> <number> -1`, got {line!r}; other lists are CSV "
                f"files with the columns frames,masks,patient"
            )
        yield _numbered(images, int(match[1]), int(match[2]), f"{path}, line {number}")


def _originals(folder: Path) -> Path | None:
    """Return the folder of images of CVC-ClinicDB in or below a folder."""
    for candidate in (folder / "Original", folder / "CVC-ClinicDB" / "Original"):
        if candidate.is_dir() and _truths(candidate) is not None:
            return candidate
    return None


def _truths(images: Path) -> Path | None:
    names = ("Ground Truth", "GroundTruth", "Ground_Truth")
    return next((images.parent / name for name in names if (images.parent / name).is_dir()), None)


def _numbered(images: Path, first: int, count: int, where: str) -> MaskedClip:
    truths = _truths(images)
    assert truths is not None
    media: list[tuple[Path, ...]] = []
    for folder in (images, truths):
        files = []
        for number in range(first, first + count):
            known = (folder / f"{number}{suffix}" for suffix in (".tif", ".tiff", ".png"))
            file = next((path for path in known if path.is_file()), None)
            if file is None:
                raise InputError(f"{where}: there is no file {folder / str(number)}.tif")
            files.append(file)
        media.append(tuple(files))
    name = f"{first}-{first + count - 1}"
    return MaskedClip(name, name, media[0], media[1], count)


def shared_groups(one: Sequence[MaskedClip], other: Sequence[MaskedClip]) -> list[str]:
    """Return the groups that two lists share, sorted."""
    return sorted({clip.group for clip in one} & {clip.group for clip in other})
