"""CVC-12k as the published code uses it: the 612 stills of CVC-ClinicDB with masks, in runs from one video each.

The runs and lists are those of the published training code (``TransUNet/train.py`` and its data set class in
https://github.com/med-air/Endo-FM). Seven of its nine test clips are training clips as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.frame_folders import FrameFolder, read_frame
from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.source_record import SourceRecord
from endofm.data.prepare.sources import SourceItem, list_images, require_folder
from endofm.errors import InputError, VideoError
from endofm.files import write_text
from endofm.video.find import walk
from endofm.video.images import open_image

Run = tuple[int, int]
"""First frame number and number of frames."""

# Copied from the published code, in its order. The numbers are those of the TIFF files, which count through all videos:
# a run is a stretch of consecutive frames of one video.
# fmt: off
TRAIN: tuple[Run, ...] = (
    (104, 23), (529, 18), (448, 19), (26, 25), (343, 21), (178, 22), (429, 19), (200, 6), (127, 25), (253, 25),
    (364, 20), (592, 21), (228, 25), (68, 11), (467, 12), (206, 22), (79, 25), (479, 25), (51, 17), (572, 20),
)
TEST: tuple[Run, ...] = (
    (51, 17), (318, 25), (429, 19), (1, 25), (178, 22), (253, 25), (343, 21), (68, 11), (200, 6),
)
UNLISTED: tuple[Run, ...] = ((152, 26), (278, 40), (384, 45), (504, 25), (547, 25))
# fmt: on

LISTS: dict[str, tuple[Run, ...]] = {
    "train": TRAIN,
    "test": TEST,
    "train_without_test": tuple(run for run in TRAIN if run not in TEST),
    "test_without_train": tuple(run for run in TEST if run not in TRAIN),
    "unlisted": UNLISTED,
}
LISTS_NOTE = """\
train.csv and test.csv are the published lists, to compare with published numbers: 7 of the 9 clips of test.csv
are clips of train.csv too (121 of 171 frames), and the published scores are of the best epoch on test.csv.
For new work train on train_without_test.csv and report on test.csv. unlisted.csv holds the runs in neither list.
The set does not state its patients; the column patient holds the run. lists/ holds the same lists in the published
format.
"""
LAYOUT = "Original/1.tif to 612.tif and Ground Truth/1.tif to 612.tif (CVC-ClinicDB)"


def clip_name(run: Run) -> str:
    """Return the name of a run's folder, its first and last frame number: ``104-126``."""
    return f"{run[0]:03}-{run[0] + run[1] - 1:03}"


def find(root: Path) -> SourceListing:
    """Return one source per run."""
    folders = walk(require_folder(root)).folders
    images = next((name for name in folders if PurePosixPath(name).name.lower() == "original"), None)
    if images is None or mask_folder(root / images) is None:
        raise InputError(f"{root}: this folder does not have the published layout; expected {LAYOUT}")
    stills = {path.stem: path.relative_to(root).as_posix() for path in list_images(root / images)}
    items, problems = [], []
    for run in sorted({*TRAIN, *TEST, *UNLISTED}):
        numbers = [str(number) for number in range(run[0], run[0] + run[1])]
        missing = [number for number in numbers if number not in stills]
        name = clip_name(run)
        if missing:
            problems.append((f"{images}/{name}", f"frames {', '.join(missing)} are missing"))
        files = tuple(stills[number] for number in numbers if number in stills)
        split = "+".join(split for split in ("train", "test") if run in LISTS[split])
        if files:
            items.append(
                SourceItem(source=f"{images}/{name}", video=name, split=split, target=f"frames/{name}", files=files)
            )
    if not items:
        raise InputError(f"{root / images}: there are no images with the numbers 1 to 612; expected {LAYOUT}")
    return SourceListing(tuple(items), tuple(problems))


def convert(root: Path, item: SourceItem, staging: Path, clip_format: ClipFormat) -> SourceRecord:
    """Write a run as ``frames/<run>/<number>.png`` and ``masks/<run>/<number>.png``, both unchanged in size and value.

    A frame whose mask is missing, unreadable or of another size is left out and named.
    """
    clip = FrameFolder(item, staging)
    for position, name in enumerate(item.files):
        path = root / name
        try:
            frame = read_frame(path)
            mask = _read_mask(path, frame.shape[:2])
        except VideoError as error:
            clip.problems.append(f"frame {path.stem} was left out: {error}")
            continue
        file = staging / item.target / f"{path.stem}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(file)
        mask_file = staging / "masks" / PurePosixPath(item.target).name / file.name
        mask_file.parent.mkdir(parents=True, exist_ok=True)
        mask.save(mask_file)
        clip.add(file, frame, position)
    return clip.record()


def write_lists(out: Path, rows: Sequence[ClipRow]) -> None:
    """Write ``<list>.csv`` with folders below ``out``, and the same lists in the published format below ``lists/``."""
    prepared = {PurePosixPath(row.path).name for row in rows}
    for name, runs in LISTS.items():
        available = [run for run in runs if clip_name(run) in prepared]
        folders = (f"frames/{clip_name(run)},masks/{clip_name(run)},{clip_name(run)}\n" for run in available)
        write_text(out / f"{name}.csv", "frames,masks,patient\n" + "".join(folders))
        # The folder and the -1 stand in every line of the published lists.
        entries = (f"CVC-ClinicVideoDB/indexed {first} {length} -1\n" for first, length in available)
        write_text(out / "lists" / f"{name}.txt", "".join(entries))
    write_text(out / "LISTS.txt", LISTS_NOTE)


def mask_folder(images: Path) -> Path | None:
    """Return the folder of masks next to the folder of images; None if there is none."""
    # Copies of the set spell the folder in several ways.
    names = {"ground truth", "groundtruth", "ground_truth"}
    return next((path for path in sorted(images.parent.iterdir()) if path.name.lower() in names), None)


def _read_mask(image: Path, size: tuple[int, ...]) -> Image.Image:
    folder = mask_folder(image.parent)
    # The mask may have another suffix than its image, so the stems are compared.
    masks = [] if folder is None else [path for path in list_images(folder) if path.stem == image.stem]
    if not masks:
        raise VideoError("it has no mask")
    with open_image(masks[0]) as opened:
        try:
            mask = Image.fromarray(np.asarray(opened.convert("L")))
        except (OSError, ValueError, SyntaxError) as error:
            raise VideoError(f"{masks[0]}: this mask cannot be decoded ({error})") from error
    if (mask.height, mask.width) != size:
        raise VideoError(f"{masks[0]}: the mask is {mask.width}x{mask.height}, its image {size[1]}x{size[0]}")
    return mask


RECIPE = SetRecipe(
    name="cvc-12k",
    title="CVC-12k (CVC-ClinicDB)",
    find=find,
    convert=convert,
    write_lists=write_lists,
    license="research and education only, with citation; no commercial use",
    source="https://polyp.grand-challenge.org/CVCClinicDB/",
    obtain="free download after registration, or by request to the Computer Vision Center (Barcelona)",
    clips=29,
    frames=612,
)
