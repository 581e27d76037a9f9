"""Attacks on lists: clips, clips with masks, paths, COCO files and leaks, written in every way and damaged.

Every list is made from rows that are known. A list that is written in another way has to be read as these rows; a
damaged one may be refused, or read with a warning. Rows, labels, times or patients other than the known ones without a
word are silent damage, unless the damage changed the text of that very cell: nothing in the file says what it was.
"""

from __future__ import annotations

import codecs
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.robustness.sandbox import Case, Outcome, generator

LABELS = ("polyp", "normal", "no finding", "Ödem")
SEPARATORS = (",", ";", "\t", "|")
NAMES = {
    "path": ("path", "Path", "filename", "FILE NAME", "video", '"Video-Path"'),
    "label": ("label", "Label", "class", "CLASS_NAME", " category "),
    "patient": ("patient", "Patient", "patient_id", "PatientID", "Subject", "case", "procedure id"),
    "start": ("start", "Start", "start_seconds", "begin"),
    "end": ("end", "END", "stop", "end time"),
    "weather": ("weather", "comment", "Device"),
}


@dataclass(frozen=True)
class Row:
    """One clip of a list that is known."""

    path: str
    label: str
    patient: str = ""
    start: float = 0.0
    end: float = float("inf")


def made_rows(rng: Random, columns: set[str], names: list[str]) -> list[Row]:
    """Return rows with the given columns for the given files."""
    rows = []
    for index, name in enumerate(names):
        row = Row(name, LABELS[index % 2] if rng.random() < 0.9 else rng.choice(LABELS))
        if "patient" in columns:
            row = replace(row, patient=f"p{index // 2}")
        if "start" in columns:
            row = replace(row, start=rng.randrange(5) / 2, end=3 + rng.randrange(5) / 2)
        rows.append(row)
    return rows


def written(rng: Random, rows: list[Row], columns: list[str], *, header: bool) -> bytes:
    """Return a list in one of the ways in which people and programs write them."""
    separator = rng.choice(SEPARATORS)
    quote = rng.choice((0.0, 0.0, 0.3, 1.0))
    blank = rng.choice(("", "", " ")) if separator != "\t" else ""

    def cell(text: str) -> str:
        plain = separator not in text and not text.startswith('"') and text == text.strip() and rng.random() >= quote
        return text if plain else '"' + text.replace('"', '""') + '"'

    lines = []
    if rng.random() < 0.2:
        lines.append(f"sep={separator}")
    if header:
        names = [rng.choice(NAMES[column]) for column in columns]
        lines.append((separator + blank).join(name if '"' in name else cell(name) for name in names))
    for row in rows:
        values = {"start": f"{row.start:g}", "end": f"{row.end:g}", "weather": "fine"}
        texts = [values.get(column) or getattr(row, column) for column in columns]
        lines.append((separator + blank).join(cell(text) for text in texts))
        if rng.random() < 0.1:
            lines.append(rng.choice(("", "   ", "# a comment", separator * (len(columns) - 1))))
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    text = end.join(lines) + rng.choice(("", end, end * 3))
    return rng.choice(
        (
            text.encode(),
            text.encode(),
            codecs.BOM_UTF8 + text.encode(),
            codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
            codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        )
    )


def damaged(rng: Random, data: bytes) -> tuple[str, bytes]:
    """Return a kind of damage and the damaged list."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    place = rng.randrange(max(len(data), 1))
    other = rng.choice((b",", b";", b"\t", b" ", b'"', b"#", b"'", b"\0", b"\xe9", b"\n", b"x", b"\xef\xbb\xbf", b"="))
    if other == b"#" and data[:place].rstrip(b" \0")[-1:] in (b"", b"\n", b"\r"):
        other = b"x"  # Whoever writes # before a line leaves it out on purpose.
    kind = rng.choice(("removed", "inserted", "replaced", "swapped", "separators", "header", "joined", "recoded"))
    if kind == "removed":
        return kind, data[:place] + data[place + 1 :]
    if kind == "inserted":
        return kind, data[:place] + other + data[place:]
    if kind == "replaced":
        return kind, data[:place] + other + data[place + 1 :]
    if kind == "swapped":
        lines[0], lines[at] = lines[at], lines[0]
        return kind, b"\n".join(lines)
    if kind == "separators":
        lines[at] = lines[at].replace(rng.choice((b",", b";", b"\t")), rng.choice((b",", b";", b"\t", b"  ")))
        return kind, b"\n".join(lines)
    if kind == "header":
        new = (b"Datei,Klasse", b"id,name", b"path,path", b"label,path,patient", b"video", b"x;y;z", b"0,1")
        lines[0] = rng.choice(new)
        return kind, b"\n".join(lines)
    if kind == "joined":
        return kind, data + rng.choice((b"", b"\n")) + data[: rng.randrange(len(data) + 1)]
    return kind, data.decode("utf-8", "replace").encode(rng.choice(("utf-16-le", "utf-16", "utf-8-sig")), "replace")


def near(one: str, other: str) -> bool:
    """Return whether texts are equal but for a few characters at one place, as a changed byte or mark makes them."""
    longest, shared = max(len(one), len(other)), min(len(one), len(other))
    head = next((index for index in range(shared) if one[index] != other[index]), shared)
    shared -= head
    tail = next((index for index in range(shared) if one[-1 - index] != other[-1 - index]), shared)
    return longest - head - tail <= 3


def judge(read: list[Row], known: list[Row], told: list[str], *, changed: bool) -> tuple[Outcome, str]:
    """Compare what was read with what is known."""
    if read == known:
        return (Outcome.REPORTED, told[0]) if told else (Outcome.OK, "")
    if told:
        return Outcome.REPORTED, told[0]
    if not changed:
        return Outcome.SILENT, f"read {read[:3]}, known {known[:3]}"
    found = {row.path: row for row in read}
    if len(found) != len(known) or len(read) != len(known):
        return Outcome.SILENT, f"{len(read)} rows of {len(known)}"
    different = 0
    for row in known:
        twin = found.get(row.path)
        if twin is None:
            return Outcome.SILENT, f"{row.path} was not read"
        cells = zip(vars(row).values(), vars(twin).values(), strict=True)
        for one, other in cells:
            if not near(str(one), str(other)) and not (isinstance(one, float) and near(f"{one:g}", f"{other:g}")):
                return Outcome.SILENT, f"read {twin}, known {row}"
        different += row != twin
    return (Outcome.UNDETECTABLE, "a cell has other text") if different <= 1 else (Outcome.SILENT, f"{different} rows")


def _clips(rng: Random, folder: Path, *, damage: bool) -> tuple[Outcome, str]:
    from endofm.data.listing import read_clips

    names = [f"{rng.choice(('', 'day 1/', 'a,b/'))}v{index}.mp4" for index in range(rng.randrange(2, 14))]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    header = rng.random() < 0.7
    columns = ["path", "label"]
    if header:
        columns += [name for name in ("patient", "weather") if rng.random() < 0.5]
    if rng.random() < 0.4:
        columns += ["start", "end"]
    known = made_rows(rng, set(columns), names)
    if header:
        rng.shuffle(columns)
    data = written(rng, known, columns, header=header)
    kind = ""
    if damage:
        kind, data = damaged(rng, data)
    (folder / "list.csv").write_bytes(data)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        table = read_clips(folder / "list.csv", missing="refuse")
    labels = (*table.classes, "")
    read = [
        Row(
            os.path.relpath(table.path[index], folder),
            labels[int(table.label[index])],
            table.patient[index],
            float(table.start[index]),
            float(table.end[index]),
        )
        for index in range(len(table))
    ]
    outcome, detail = judge(read, known, [str(one.message) for one in seen], changed=damage)
    return outcome, f"{kind}: {detail}" if detail else ""


def _masks(rng: Random, folder: Path, *, damage: bool) -> tuple[Outcome, str]:
    from endofm.list_table import read_table

    names = [f"frames/{index}" for index in range(rng.randrange(2, 9))]
    known = made_rows(rng, {"patient"}, names)
    # The second column of a list of masks stands where clips have their label.
    known = [replace(row, label=f"masks/{index}") for index, row in enumerate(known)]
    columns = rng.sample(("path", "label", "patient"), 3)
    data = written(rng, known, columns, header=False)
    wide = data.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE))
    text = data.decode("utf-16" if wide else "utf-8-sig")
    if text.startswith("sep="):
        text = text.replace("\r", "\n").partition("\n")[2].lstrip("\n")
    separator = max(SEPARATORS, key=text.count)
    named = {"path": ("frames", "Images"), "label": ("masks", "Mask"), "patient": NAMES["patient"]}
    text = separator.join(rng.choice(named[column]) for column in columns) + "\n" + text
    data, kind = text.encode(), ""
    if damage:
        kind, data = damaged(rng, data)
    (folder / "list.csv").write_bytes(data)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        rows = read_table(folder / "list.csv", ("frames", "masks", "patient"), required=("frames", "masks")).rows
    read = [Row(row.cells["frames"], row.cells["masks"], row.cells.get("patient", "")) for row in rows]
    lost = sorted({row.path for row in known} - {row.path for row in read})
    if damage and (lost or len(read) != len(known)) and all(path.startswith("frames/") for path in lost):
        # Folders that do not exist are refused by the reader of masks.
        gone = [row.path for row in read if row.path not in {one.path for one in known}]
        if gone:
            return Outcome.ERROR, f"there is no folder {gone[0][:40]}"
    outcome, detail = judge(read, known, [str(one.message) for one in seen], changed=damage)
    return outcome, f"{kind}: {detail}" if detail else ""


def _paths(rng: Random, folder: Path, *, damage: bool) -> tuple[Outcome, str]:
    from endofm.inference.video_paths import find_videos, read_list

    entries = []
    for index in range(rng.randrange(1, 9)):
        place = rng.choice(("", "a/", "b/", "c d/"))
        name = place + rng.choice(("x.mp4", f"{index}, {index}.mp4", f"ü{index};.avi", f"{index} b.mkv", "n" * 300))
        if rng.random() < 0.8 and len(name) < 200:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        entries.append(name)
    lines = [rng.choice((name, f"  {name}", f'"{name}"', f"{name} ")) for name in entries]
    if rng.random() < 0.3:
        lines.insert(rng.randrange(len(lines) + 1), "# comment")
    end = rng.choice(("\n", "\r\n", "\r"))
    data = rng.choice((b"", codecs.BOM_UTF8)) + end.join([*lines, ""]).encode()
    if damage:
        position = rng.randrange(len(data))
        data = data[:position] + rng.choice((b"\xff", b"\xe9", b'"', b",", b"=", b"\x85")) + data[position:]
    (folder / "list.txt").write_bytes(data)
    items = find_videos([], read_list(folder / "list.txt"))
    if len({item.output for item in items}) != len(items):
        return Outcome.SILENT, "two videos have one output"
    if any(Path(item.output).is_absolute() or ".." in Path(item.output).parts for item in items):
        return Outcome.SILENT, "an output lies outside of the folder"
    expected = {os.path.realpath(folder / name) for name in entries}
    found = {os.path.realpath(item.path) for item in items}
    if found == expected:
        return Outcome.OK, ""
    # A changed byte changes one name: it fails on its own, and every other entry is there.
    if damage and len(expected - found) <= 1 and len(found) in (len(expected), len(expected) + 1):
        return Outcome.UNDETECTABLE, "one entry has another name"
    return Outcome.SILENT, f"{len(found)} of {len(expected)} entries"


def _coco(rng: Random, folder: Path, *, damage: bool) -> tuple[Outcome, str]:
    from endofm.data.detection.coco import read_coco

    count = rng.randrange(1, 5)
    for index in range(count):
        (folder / f"{index}.png").touch()
    images: list[dict[str, Any]] = [
        {"id": index, "file_name": f"{index}.png", "width": 64, "height": 48} for index in range(count)
    ]
    boxes: list[dict[str, Any]] = [
        {"id": n, "image_id": n % count, "category_id": n % 2, "bbox": [n, n, 10, 10]} for n in range(6)
    ]
    categories = [{"id": 0, "name": "polyp"}, {"id": 1, "name": "adenoma"}]
    notes_due = 0
    for extra in rng.sample(("crowd", "ignore", "copy", "name"), rng.randrange(3)):
        notes_due += 1
        if extra in ("crowd", "ignore"):
            mark = {"iscrowd": 1} if extra == "crowd" else {"ignore": rng.choice((1, True))}
            boxes.append({"id": 50, "image_id": 0, "category_id": 0, "bbox": [20, 20, 9, rng.randrange(5, 9)], **mark})
        elif extra == "copy":
            boxes.append({**boxes[0], "id": 60})
        else:
            categories.append({"id": 2, "name": "polyp"})
            boxes[0]["category_id"], boxes[-1]["category_id"] = (2, 2) if len(boxes) == 6 else (0, 0)
    values: dict[str, Any] = {"images": images, "annotations": boxes, "categories": categories}
    if damage:
        target = rng.choice((*images, *boxes, *categories, values))
        key = rng.choice(list(target))
        other = (None, -1, 10**400, 1e308, float("nan"), "x", "", [], {}, [1, 2], True, "\0", "../x", [0, 0, 0, 0])
        target[key] = rng.choice(other)
    (folder / "c.json").write_bytes(rng.choice((b"", codecs.BOM_UTF8)) + json.dumps(values).encode())
    found = read_coco(folder / "c.json", fps=25, clip=False)
    if damage:
        return Outcome.UNDETECTABLE, "a value that is valid"
    if found.num_boxes != 6 or found.labels != ("polyp", "adenoma"):
        return Outcome.SILENT, f"{found.num_boxes} objects of {found.labels}"
    if notes_due and not found.notes:
        return Outcome.SILENT, "no note"
    return (Outcome.REPORTED, found.notes[0]) if found.notes else (Outcome.OK, "")


def _leak(rng: Random, folder: Path, *, damage: bool) -> tuple[Outcome, str]:
    from endofm.errors import InputError
    from endofm.training.config_files import load_config
    from endofm.training.finetune.classification_config import ClassificationConfig
    from endofm.training.finetune.classification_recipe import read_subsets

    for index in range(10):
        (folder / f"v{index}.mp4").write_bytes(rng.randbytes(rng.choice((1000, 200_000))))
    (folder / "linked").symlink_to(folder)
    (folder / "link.mp4").symlink_to("v0.mp4")
    shutil.copy(folder / "v0.mp4", folder / "copy.mp4")
    shutil.copy(folder / "v0.mp4", folder / "Kopie von v0.avi")
    shared = ("v0.mp4", "./v0.mp4", "linked/v0.mp4", str(folder / "v0.mp4"), "link.mp4", "copy.mp4", "Kopie von v0.avi")
    test = ["v8.mp4", rng.choice(shared) if damage else "v9.mp4"]
    (folder / "train.csv").write_text("".join(f"v{index}.mp4,{LABELS[index % 2]}\n" for index in range(8)))
    (folder / "test.csv").write_text("".join(f"{name},{LABELS[index]}\n" for index, name in enumerate(test)))
    options = [f"data.train={folder / 'train.csv'}", f"data.test={folder / 'test.csv'}"]
    try:
        read_subsets(load_config(ClassificationConfig, None, options))
    except InputError as error:
        refused = "both in the" in str(error)
        return (Outcome.ERROR if damage and refused else Outcome.SILENT), str(error)
    return (Outcome.SILENT, f"{test[1]} is in both sets") if damage else (Outcome.OK, "")


_ATTACKS: dict[str, Callable[..., tuple[Outcome, str]]] = {
    "clips": _clips,
    "masks": _masks,
    "paths": _paths,
    "coco": _coco,
    "leak": _leak,
}
_SHARES = ("clips", "clips", "masks", "paths", "clips", "coco", "clips", "leak")


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks, half of them lists that are valid in another writing, half of them damaged ones."""
    # Imported before the first fork, which would otherwise do it once per attack.
    import endofm.data.detection.coco
    import endofm.inference.video_paths
    import endofm.training.finetune.classification_recipe  # noqa: F401

    for number in range(count):
        kind = _SHARES[number % len(_SHARES)]
        damage = (number // len(_SHARES)) % 2 == 1
        name = f"list {kind}{' damaged' if damage else ''}"
        yield Case(name, f"#{number} seed {seed}", _attack(kind, number, seed, damage=damage))


def _attack(kind: str, number: int, seed: int, *, damage: bool) -> Callable[[], tuple[Outcome, str]]:
    def run() -> tuple[Outcome, str]:
        with tempfile.TemporaryDirectory() as name:
            return _ATTACKS[kind](generator(seed, "list", number), Path(name).resolve(), damage=damage)

    return run
