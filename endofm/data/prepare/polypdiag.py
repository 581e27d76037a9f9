"""PolypDiag: uncut videos with one label each, and two published lists.

The set rearranges videos of HyperKvasir and LDPolypVideo (https://github.com/tianyu0207/weakly-polyp), which were not
removed from the published pre-training data; ``endofm data check --against`` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from endofm.data.manifest import ClipRow
from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.sources import SourceItem, require_folder
from endofm.errors import InputError, quoted
from endofm.files import write_text
from endofm.list_table import read_table
from endofm.video.find import walk

SPLITS = ("train", "val", "test")
LAYOUT = "videos/*.mp4 with splits/train.txt and splits/val.txt, one `path,label` per line"


def find(root: Path) -> SourceListing:
    """Return the listed videos in the order of the lists; a video in two lists has both as split, joined by ``+``."""
    base = next((path for path in (require_folder(root), root / "PolypDiag") if (path / "splits").is_dir()), None)
    if base is None:
        raise InputError(f"{root}: this folder does not have the published layout; expected {LAYOUT}")
    items: dict[str, SourceItem] = {}
    problems: list[tuple[str, str]] = []
    for split in SPLITS:
        for name, label in _read_list(base / "splits" / f"{split}.txt"):
            source = (base / "videos" / name).relative_to(root).as_posix()
            listed = items.get(source)
            # A video in two subsets is reported, but both lists are written as published.
            if listed is not None:
                problems.append((source, f"is listed in {listed.split} and again in {split}"))
                if split not in listed.split.split("+"):
                    items[source] = replace(listed, split=f"{listed.split}+{split}")
            elif not (root / source).is_file():
                problems.append((source, f"is listed in {split}, but does not exist"))
            else:
                target = PurePosixPath("videos") / PurePosixPath(name).with_suffix(".mp4")
                items[source] = SourceItem(
                    source=source, video=name, label=str(label), split=split, target=target.as_posix()
                )
    if not items:
        raise InputError(f"{base}: none of the listed videos exists; expected {LAYOUT}")
    others = set(walk(base / "videos").videos) - {item.video for item in items.values()}
    return SourceListing(
        tuple(items.values()), tuple(problems), tuple((name, "is in no list") for name in sorted(others))
    )


def write_lists(out: Path, rows: Sequence[ClipRow]) -> None:
    """Write ``splits/*.txt`` for the prepared videos, as the published code reads them: paths below ``videos/``."""
    for split in SPLITS:
        lines = [
            f"{PurePosixPath(row.path).relative_to('videos')},{row.label}\n"
            for row in rows
            if split in row.split.split("+")
        ]
        if lines:
            write_text(out / "splits" / f"{split}.txt", "".join(lines))


def _read_list(path: Path) -> list[tuple[str, int]]:
    if not path.exists():
        return []
    entries = []
    for row in read_table(path, ("path", "label"), widths=(2,)).rows:
        label = row.cells.get("label", "")
        if not label.lstrip("-").isdecimal():
            raise InputError(f"{row.source}: expected `path,label` with an integer label, got {quoted(label)}")
        entries.append((row.cells["path"], int(label)))
    return entries


RECIPE = SetRecipe(
    name="polypdiag",
    title="PolypDiag",
    find=find,
    write_lists=write_lists,
    license="not stated; those of HyperKvasir and LDPolypVideo apply to the recordings",
    source="https://github.com/tianyu0207/weakly-polyp",
    obtain="free download, linked from the page; the lists come with the archive that Endo-FM offers",
    clips=253,
    frames=485_561,
    overlaps=(
        "hyper-kvasir: part of the videos come from it, and were not removed from the published pre-training data",
        "ldpolypvideo: part of the videos come from it, and were not removed from the published pre-training data",
    ),
)
