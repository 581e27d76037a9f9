"""KUMC PolypsSet: frames with boxes, grouped by video, in order of time.

The public archive (https://doi.org/10.7910/DVN/FCBUOR) has one folder per video in ``val2019`` and ``test2019``, while
the frames of ``train2019`` are shuffled in one folder; there the annotation files name the video and frame of each.
The layout that is written is the one that the published detector reads.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from PIL import Image

from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.frame_folders import FrameFolder, read_frame
from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.source_record import SourceRecord
from endofm.data.prepare.sources import SourceItem, list_images, require_folder
from endofm.data.prepare.voc import VocFile, read_voc
from endofm.errors import InputError, VideoError
from endofm.files import write_text
from endofm.video.find import natural_key, walk
from endofm.video.images import open_image

CLASSES = {"adenomatous": 1, "hyperplastic": 2}
PIECES = ("train2019", "val2019", "test2019")
LAYOUT = (
    "train2019, val2019 and test2019, each with Image/ (*.jpg) and Annotation/ (*.xml), flat or one folder per video"
)
JPEG_SUFFIXES = (".jpg", ".jpeg")


def find(root: Path) -> SourceListing:
    """Return one source per video, its frames in natural order of their original names.

    Images without an annotation file are dropped, as in the published code, and named.
    """
    require_folder(root)
    base = next((path for path in (root, root / "PolypsSet") if (path / PIECES[0] / "Image").is_dir()), None)
    if base is None:
        raise InputError(f"{root}: this folder does not have the published layout; expected {LAYOUT}")
    items: list[SourceItem] = []
    problems: list[tuple[str, str]] = []
    dropped: list[tuple[str, str]] = []
    for piece in PIECES:
        images = base / piece / "Image"
        videos: dict[str, list[Path]] = {}
        for name in walk(images).folders if images.is_dir() else []:
            files = _annotated(list_images(images / name), root, dropped)
            # Images directly in Image/ are the shuffled frames of the archive, a subfolder is one video.
            videos |= _regroup(files, root, problems) if name == "." else {name.replace("/", "-"): files}
        for video, files in sorted(videos.items(), key=lambda pair: natural_key(pair[0])):
            items.append(
                SourceItem(
                    source=f"{images.relative_to(root).as_posix()}/{video}",
                    video=f"{piece}/{video}",
                    split=piece.removesuffix("2019"),
                    target=f"{piece}/Image/{video}",
                    files=tuple(file.relative_to(root).as_posix() for file in files),
                )
            )
    items = [item for item in items if item.files]
    if not items:
        raise InputError(f"{base}: there are no images with annotations; expected {LAYOUT}")
    return SourceListing(tuple(items), tuple(problems), tuple(dropped))


def convert(root: Path, item: SourceItem, staging: Path, clip_format: ClipFormat) -> SourceRecord:
    """Write a video as ``<piece>/Image/<video>/<i>.jpg`` and ``<piece>/Annotation/<video>/<i>.xml``, i = 1..N.

    JPEG files are copied bit for bit. A frame that cannot be read, or whose annotation is damaged or has an unknown
    class, is left out and named.
    """
    clip = FrameFolder(item, staging)
    for position, name in enumerate(item.files):
        image = root / name
        annotation = annotation_of(image)
        try:
            frame = read_frame(image)
            _check(read_voc(annotation), frame.shape[1], frame.shape[0], name, clip)
        except (InputError, VideoError) as error:
            clip.problems.append(f"frame {image.name} was left out: {error}")
            continue
        # Numbered without gaps, as the published reader requires, even where a frame is left out.
        file = staging / item.target / f"{len(clip.files) + 1}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        if image.suffix.lower() in JPEG_SUFFIXES:
            shutil.copyfile(image, file)
        else:
            Image.fromarray(frame).save(file, quality=95)
        copy = annotation_of(file)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(annotation, copy)
        clip.add(file, frame, position)
    return clip.record()


def write_lists(out: Path, rows: Sequence[ClipRow]) -> None:
    """Write ``ImageSets/<split>.txt``, one frame per line, and ``annotations/<split>.json`` in the COCO format.

    The second column of the text lists is the frame's number, as in the lists of STFT: the published code takes a 1
    there for the start of a video. Its own converter writes 0 everywhere, so that it never recognises one.
    """
    for split in sorted({row.split for row in rows}):
        videos = [row for row in rows if row.split == split]
        lines = (
            f"{PurePosixPath(row.path).name} {number} {number} {row.num_frames}\n"
            for row in videos
            for number in range(1, row.num_frames + 1)
        )
        write_text(out / "ImageSets" / f"{split}.txt", "".join(lines))
        write_text(out / "annotations" / f"{split}.json", json.dumps(_coco(out, videos)))


def _coco(out: Path, rows: Sequence[ClipRow]) -> dict[str, list[dict[str, object]]]:
    """Return COCO's structure, with ``videos`` added; ``frame_id`` is the number in the file's name."""
    videos: list[dict[str, object]] = []
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for video_id, row in enumerate(rows, 1):
        videos.append({"id": video_id, "name": row.video, "width": row.width, "height": row.height})
        for frame_id in range(1, row.num_frames + 1):
            file = PurePosixPath(row.path) / f"{frame_id}.jpg"
            with open_image(out / file) as image:
                width, height = image.size
            image_id = len(images) + 1
            images.append(
                {"id": image_id, "file_name": str(file), "width": width, "height": height}
                | {"video_id": video_id, "frame_id": frame_id}
            )
            for box in read_voc(annotation_of(out / file)).boxes:
                inside = box.clipped(width, height)
                if inside is None:
                    continue
                sides = inside.xmax - inside.xmin, inside.ymax - inside.ymin
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": image_id, "category_id": CLASSES[box.name]}
                    | {"bbox": [inside.xmin, inside.ymin, *sides], "area": sides[0] * sides[1], "iscrowd": 0}
                )
    categories: list[dict[str, object]] = [{"id": number, "name": name} for name, number in CLASSES.items()]
    return {"videos": videos, "images": images, "annotations": annotations, "categories": categories}


def _check(voc: VocFile, width: int, height: int, name: str, clip: FrameFolder) -> None:
    for box in voc.boxes:
        if box.name not in CLASSES:
            raise InputError(f"its annotation has the class {box.name!r}; the classes are {', '.join(CLASSES)}")
        if box.clipped(width, height) is None:
            clip.dropped.append(f"{name}: a box without area inside the image is not in the COCO file")


def annotation_of(image: Path) -> Path:
    """Return the annotation file of an image: the same path with ``Annotation`` instead of ``Image``."""
    folders = list(image.parent.parts)
    # The last folder of that name: one above the set may be called Image as well.
    index = len(folders) - 1 - folders[::-1].index("Image")
    folders[index] = "Annotation"
    return Path(*folders, f"{image.stem}.xml")


def _annotated(images: Iterable[Path], root: Path, dropped: list[tuple[str, str]]) -> list[Path]:
    annotated = []
    for image in images:
        if annotation_of(image).is_file():
            annotated.append(image)
        else:
            dropped.append((image.relative_to(root).as_posix(), "has no annotation file"))
    return annotated


def _regroup(images: Sequence[Path], root: Path, problems: list[tuple[str, str]]) -> dict[str, list[Path]]:
    """Sort shuffled frames into videos by the folder and file name in their annotation files."""
    groups: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for image in images:
        name = image.relative_to(root).as_posix()
        try:
            voc = read_voc(annotation_of(image))
        except InputError as error:
            problems.append((name, f"was left out: {error}"))
            continue
        if not voc.folder or not voc.filename:
            problems.append((name, "was left out: its annotation does not name its video and frame"))
            continue
        groups[voc.folder].append((voc.filename, image))
    names = _video_names(groups)
    videos: dict[str, list[Path]] = {}
    for folder, frames in groups.items():
        # By the frame's original name; the shuffled name decides between equal ones, so that the order is fixed.
        frames.sort(key=lambda pair: (natural_key(pair[0]), natural_key(pair[1].name)))
        videos[names[folder]] = [image for _, image in frames]
    return videos


def _video_names(folders: Iterable[str]) -> dict[str, str]:
    """Return a short, unambiguous name for each folder: its path without the leading part that all folders share."""
    # The folders are paths on the annotators' machines; the part that all share does not distinguish videos.
    paths = {folder: PurePosixPath(folder).parts for folder in folders}
    levels = zip(*(parts[:-1] for parts in paths.values()), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    names = {folder: "-".join(part.strip("/") for part in parts[shared:]) for folder, parts in paths.items()}
    taken = Counter(names.values())
    order = {folder: number for number, folder in enumerate(sorted(paths), 1)}
    return {folder: f"{name}-{order[folder]}" if taken[name] > 1 else name for folder, name in names.items()}


RECIPE = SetRecipe(
    name="kumc",
    title="KUMC (PolypsSet)",
    find=find,
    convert=convert,
    write_lists=write_lists,
    license="CC0 1.0",
    source="https://doi.org/10.7910/DVN/FCBUOR",
    obtain="free download",
    clips=53,
    frames=19_832,
    overlaps=("colonoscopic: part of the images very likely come from its recordings (the GLRC part, by its name)",),
)
