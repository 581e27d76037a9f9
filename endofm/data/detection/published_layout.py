"""The layout that the published detector reads: ``Image/``, ``Annotation/`` and lists, as in KUMC.

::

    {train,val,test}2019/Image/{video}/{i}.jpg         i = 1..N without gaps
    {train,val,test}2019/Annotation/{video}/{i}.xml
    ImageSets/{train,val,test}.txt                     one line per frame: "{video} {mark} {i} {N}"

``endofm data prepare kumc`` and ``endofm data synth --task detection`` write it. By the mark the published code knows
where a video begins; here a video begins where its name first appears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endofm.data.detection.detection_set import (
    DetectionSet,
    LabelledBox,
    LabelledFrame,
    LabelledVideo,
    label_index,
    make_frame,
    missing_note,
)
from endofm.data.prepare.voc import read_voc
from endofm.errors import InputError, VideoError, quoted
from endofm.list_lines import read_lines
from endofm.progress import progress_bar
from endofm.video.images import open_image, upright_size

LISTS = "ImageSets"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class _Line:
    source: str
    video: str
    number: int
    count: int


def is_published_layout(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return (root / LISTS).is_dir()


def read_published_layout(
    root: Path,
    split: str,
    *,
    labels: Sequence[str],
    fps: float,
    clip: bool,
    allow_missing: bool = False,
    progress: bool = True,
) -> DetectionSet:
    """Read one subset.

    Args:
        root: Folder of the set.
        split: ``train``, ``val`` or ``test``: the name of a list.
        labels: Names of the classes; others are an error.
        fps: Frames per second of all videos, which the layout does not state.
        clip: See :func:`~endofm.data.detection.detection_set.make_frame`.
        allow_missing: Leave out frames whose image does not exist, with a note, rather than refuse them.
        progress: Show a progress bar on a terminal.

    Raises:
        InputError: If the list is missing, empty, or mixes videos; a frame is missing or its annotation damaged; a
            class is unknown or a box impossible. The message names file and line.
    """
    listing = root / LISTS / f"{split}.txt"
    lines = _read_list(listing)
    base = root / f"{split}2019"
    notes: list[str] = []
    gone: list[str] = []
    frames: dict[str, list[LabelledFrame]] = {}
    with progress_bar(total=len(lines), description=f"annotations of {split}", unit="frame", progress=progress) as bar:
        for line in lines:
            bar.update()
            image = _image(base, line)
            if image is None and allow_missing:
                gone.append(f"{line.video}/{line.number}")
                continue
            frames.setdefault(line.video, []).append(_read_frame(base, image, line, labels, clip, notes))
    notes += missing_note(gone, len(lines), listing)
    # The layout states no patients; the video takes their place.
    videos = tuple(LabelledVideo(name, name, fps, tuple(own)) for name, own in frames.items())
    return DetectionSet(str(listing), tuple(labels), videos, tuple(notes))


def _read_list(path: Path) -> list[_Line]:
    if not path.exists():
        available = sorted(file.stem for file in path.parent.glob("*.txt"))
        raise InputError(f"{path}: there is no such list; available: {', '.join(available) or 'none'}")
    lines: list[_Line] = []
    finished: set[str] = set()
    for line_number, raw in enumerate(read_lines(path), start=1):
        if not raw.strip():
            continue
        source = f"{path}:{line_number}"
        line = _parse(raw, source)
        last = lines[-1] if lines else None
        if last is None or last.video != line.video:
            _check_end(last)
            if line.video in finished:
                raise InputError(
                    f"{source}: frame {line.number} of {line.video} comes after frames of another video; the list "
                    "mixes videos. Put the frames of each video together, in order of time"
                )
            if line.number != 1:
                raise InputError(f"{source}: {line.video} begins with frame {line.number}; frames count from 1")
            finished.add(line.video)
        elif line.number != last.number + 1:
            raise InputError(
                f"{source}: frame {line.number} of {line.video} follows frame {last.number}; frames count up by one"
            )
        elif line.count != last.count:
            raise InputError(
                f"{source}: this line states {line.count} frames for {line.video}, the lines above {last.count}"
            )
        lines.append(line)
    if not lines:
        raise InputError(f"{path}: the list is empty")
    _check_end(lines[-1])
    return lines


def _parse(raw: str, source: str) -> _Line:
    parts = raw.split()
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        raise InputError(
            f"{source}: expected `video mark frame frames`, for example `17 1 1 250`, got {quoted(raw.strip())}"
        )
    return _Line(source, parts[0], int(parts[2]), int(parts[3]))


def _check_end(last: _Line | None) -> None:
    if last is not None and last.number != last.count:
        raise InputError(f"{last.source}: {last.video} ends with frame {last.number}, but {last.count} are stated")


def _image(base: Path, line: _Line) -> Path | None:
    folder = base / "Image" / line.video
    return next((p for s in IMAGE_SUFFIXES if (p := folder / f"{line.number}{s}").is_file()), None)


def _read_frame(
    base: Path, image: Path | None, line: _Line, labels: Sequence[str], clip: bool, notes: list[str]
) -> LabelledFrame:
    if image is None:
        raise InputError(f"{line.source}: there is no image {base / 'Image' / line.video / str(line.number)}.jpg")
    annotation = base / "Annotation" / line.video / f"{line.number}.xml"
    if not annotation.is_file():
        raise InputError(
            f"{line.source}: there is no annotation {annotation}; a frame without objects has an empty one"
        )
    try:
        with open_image(image) as opened:
            size = upright_size(opened)
    except VideoError as error:
        raise InputError(f"{line.source}: {error}") from error
    boxes = []
    for box in read_voc(annotation).boxes:
        source = f"{annotation}:{box.line}"
        corners = (box.xmin, box.ymin, box.xmax, box.ymax)
        boxes.append(LabelledBox(corners, label_index(box.name, labels, source), source))
    return make_frame(image, line.number, (size[1], size[0]), boxes, clip=clip, notes=notes)
