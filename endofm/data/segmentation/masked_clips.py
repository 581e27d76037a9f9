"""Lists of clips with masks: reading them and pairing frames with masks.

A list is

- a table with the columns ``frames,masks`` and, if known, ``patient`` (:mod:`endofm.list_table`): for each clip the
  folder of its images or its video, and the folder of its masks or the video of its masks;
- a text file in the published format, with a line ``<anything> <first> <number> -1`` per clip: numbered files
  ``Original/<i>.tif`` and ``Ground Truth/<i>.tif``;
- a folder that holds such lists, with the name of one of them: ``prepared/cvc-12k#train_without_test``. Without a name
  it is the list of the requested part (train, val, test). For CVC-ClinicDB as downloaded, which holds no lists, the
  published ones are built in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from endofm.data.prepare.cvc import LISTS
from endofm.errors import InputError, quoted
from endofm.list_lines import blank_comments, exists, read_lines
from endofm.list_table import names_columns, read_table
from endofm.video.find import IMAGE_SUFFIXES
from endofm.video.images import natural_order

MediaSource = tuple[Path, ...] | Path
"""Image files in order, or a video file."""

_COLUMNS = ("frames", "masks", "patient")
_PUBLISHED = re.compile(r"\S.*\s(\d+)\s+(\d+)\s+-1\s*")


@dataclass(frozen=True)
class MaskedClip:
    """A clip with a mask for every frame.

    Attributes:
        id: Name, for messages and reports.
        group: Patient or video; clips of one group are never in different parts of a split.
        frames: Source of the frames.
        masks: Source of the masks, one per frame.
        count: Number of frames.
    """

    id: str
    group: str
    frames: MediaSource
    masks: MediaSource
    count: int

    @property
    def files(self) -> tuple[Path, ...]:
        """The video, or the images of the frames."""
        return (self.frames,) if isinstance(self.frames, Path) else self.frames


def read_list(
    source: str | Path, *, part: str, root: str | Path | None = None, left_out: list[str] | None = None
) -> list[MaskedClip]:
    """Return the clips of a list after checking that every frame has a mask.

    Args:
        source: The list; see the module's description.
        part: ``"train"``, ``"val"`` or ``"test"``: the list to use of a folder.
        root: Folder that paths in the list are relative to; the list's own by default.
        left_out: Leave out clips of a table whose frames or masks do not exist, and add a sentence on them and on
            columns that are not used. By default missing files are an error.

    Raises:
        InputError: If there is no such list, or a line of it is invalid; the message names file and line.
    """
    text, _, name = str(source).partition("#")
    path = Path(text)
    if path.is_dir():
        return _read_folder(path, name or part, root, left_out)
    if name:
        raise InputError(f"{source}: {path} is not a folder, so it holds no list {name!r}")
    if not path.is_file():
        raise InputError(f"{source}: there is no such list or folder")
    table = path.suffix.lower() == ".csv" or names_columns(path, _COLUMNS, _COLUMNS[:2])
    clips = list(_read_table(path, root, left_out) if table else _read_published(path, root))
    if not clips:
        raise InputError(f"{source}: there are no clips in this list")
    return clips


def _read_folder(folder: Path, name: str, root: str | Path | None, left_out: list[str] | None) -> list[MaskedClip]:
    for candidate in (folder / f"{name}.csv", folder / "lists" / f"{name}.txt"):
        if candidate.is_file():
            return read_list(candidate, part=name, root=root or folder, left_out=left_out)
    images = _published_images(folder)
    if images is not None and name in LISTS:
        return [_numbered(images, first, count, f"{folder}: list {name}") for first, count in LISTS[name]]
    lists = sorted(
        path.stem for path in (*folder.glob("*.csv"), *folder.glob("lists/*.txt")) if path.stem != "manifest"
    )
    known = f"; it has {', '.join(lists)}" if lists else ""
    raise InputError(
        f"{folder}: this folder has no list {name!r}{known}. Name one, as in {folder}#{(lists or ['train'])[0]}, or "
        f"give the CSV file"
    )


def _read_table(path: Path, root: str | Path | None, left_out: list[str] | None) -> Iterator[MaskedClip]:
    base = Path(root) if root is not None else path.parent
    table = read_table(path, _COLUMNS, required=_COLUMNS[:2])
    gone: list[str] = []
    for row in table.rows:
        frames, masks = row.cells["frames"], row.cells["masks"]
        if not masks:
            raise InputError(f"{row.source}: a clip needs both frames and masks")
        if left_out is not None and not (exists(base / frames) and exists(base / masks)):
            gone.append(frames)
            continue
        yield _paired(base / frames, base / masks, row.cells.get("patient") or frames, frames, row.source)
    if gone and left_out is not None:
        left_out.append(
            f"{len(gone)} of {len(table.rows)} clips of {path.name} do not exist and were left out, the first: "
            f"{quoted(gone[0])}."
        )


def _paired(frames: Path, masks: Path, group: str, name: str, line: str) -> MaskedClip:
    images, drawn = _media_source(frames, line), _media_source(masks, line)
    counts = [_count(source, line) for source in (images, drawn)]
    if counts[0] != counts[1]:
        raise InputError(
            f"{line}: {frames} has {counts[0]} frames, but {masks} has {counts[1]} masks; every frame needs one"
        )
    if isinstance(images, tuple) and isinstance(drawn, tuple):
        pairs = [(a, b) for a, b in zip(images, drawn, strict=True) if a.stem != b.stem]
        stems = {mask.stem for mask in drawn}
        # Frames and masks may be named by different schemes. Names that occur on both sides but do not pair up mean
        # that a frame is missing here and a mask there.
        if pairs and any(frame.stem in stems for frame in images):
            raise InputError(
                f"{line}: the frame {pairs[0][0]} would be paired with the mask {pairs[0][1]}; give a frame and its "
                f"mask the same name"
            )
    return MaskedClip(name, group, images, drawn, counts[0])


def _media_source(path: Path, line: str) -> MediaSource:
    if path.is_dir():
        files = natural_order(
            file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        )
        if not files:
            raise InputError(f"{line}: there are no images in the folder {path}")
        return tuple(files)
    if not path.is_file():
        raise InputError(f"{line}: there is no such folder or video: {path}")
    return (path,) if path.suffix.lower() in IMAGE_SUFFIXES else path


def _count(source: MediaSource, line: str) -> int:
    if isinstance(source, tuple):
        return len(source)
    from endofm.errors import VideoError
    from endofm.video.open import open_video

    try:
        with open_video(source) as video:
            return len(video.frame_times())
    except VideoError as error:
        raise InputError(f"{line}: {error}") from error


def _read_published(path: Path, root: str | Path | None) -> Iterator[MaskedClip]:
    folders = [Path(root)] if root is not None else [path.parent, path.parent.parent]
    images = next((found for folder in folders if (found := _published_images(folder)) is not None), None)
    if images is None:
        raise InputError(
            f"{path}: no folder Original next to a folder Ground Truth was found in {folders[-1]}; name the folder of "
            f"CVC-ClinicDB with data.root"
        )
    lines = read_lines(path)
    blank_comments(path, lines)
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        match = _PUBLISHED.fullmatch(text.strip())
        if match is None:
            raise InputError(
                f"{path}, line {number}: expected `<folder> <first> <number> -1`, got {quoted(text.strip())}; other "
                "lists are CSV files with the columns frames,masks,patient"
            )
        yield _numbered(images, int(match[1]), int(match[2]), f"{path}, line {number}")


def _published_images(folder: Path) -> Path | None:
    """Return the folder of images of CVC-ClinicDB in a folder or below it."""
    for candidate in (folder / "Original", folder / "CVC-ClinicDB" / "Original"):
        if candidate.is_dir() and _truths(candidate) is not None:
            return candidate
    return None


def _truths(images: Path) -> Path | None:
    names = ("Ground Truth", "GroundTruth", "Ground_Truth")
    return next((images.parent / name for name in names if (images.parent / name).is_dir()), None)


def _numbered(images: Path, first: int, count: int, line: str) -> MaskedClip:
    truths = _truths(images)
    assert truths is not None
    media: list[tuple[Path, ...]] = []
    for folder in (images, truths):
        files = []
        for number in range(first, first + count):
            known = (folder / f"{number}{suffix}" for suffix in (".tif", ".tiff", ".png"))
            file = next((path for path in known if path.is_file()), None)
            if file is None:
                raise InputError(f"{line}: there is no file {folder / str(number)}.tif")
            files.append(file)
        media.append(tuple(files))
    name = f"{first}-{first + count - 1}"
    return MaskedClip(name, name, media[0], media[1], count)
