"""Attacks by text: names of files, labels, patients, models and licences, through every command and output format.

Names that no file system or format was meant for must come back unchanged or escaped, and stay data: no formula in a
CSV file, no markup in a card or page, no escape sequence on a terminal, no file outside the output folder.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random

from benchmarks.robustness.sandbox import Case, Outcome, generator
from benchmarks.robustness.small_model import small_model

TEXTS = (
    "\x1b[31mred", "\x1b]0;title\x07", "\x01\x02\x7f", "$x$", "$", "$\\frac{1}{0}$", "a_b^c{", "\\n\\alpha%s%n{0}",
    "<b>bold</b>", "<script>alert(1)</script>", "&amp;", "<!--", "]]>", "=cmd|'/c calc'!A1", "=1+1", "+1", "-1",
    "@SUM(1)", "\t=1", "a\nb", "a\r\n# Title", "---\nlicense: evil", "\r", "'", '"', "a,b;c|d", "`code`",
    "[link](http://x)", "![i](http://x/p.png)", "# heading", "- item", "| cell |", "{{ x }}", "%PDF", "CON",
    "nul.txt", "aux", "..", "...", ".hidden", "dot.", " space ", "-rf", "--help", "~", "$HOME", "`id`", "$(id)",
    "a:b", "*?", "[ab]", "a\\b", "%2e%2e%2f", "e\u0301", "\xe9", "\u202egpj.exe", "\u200b", "\ufeff", "\U0001f600",
    "\ud800", "\udce9", "\x00", "null", "true", "1e999", "NaN", "0x10", "yes", "!!python/object", "&a *a", "\u2028",
    "\x85", "x" * 200, "\xe9" * 100, "x" * 5000, "K\u0131", "\u1e9e", "\uff0e\uff0e\uff0f", "polyp", "a\ufffdb",
    "\u0130",
)  # fmt: skip
"""Texts that mean something to a terminal, a shell, a spreadsheet, a page, a parser or a file system."""

SPELLINGS = (b"caf\xe9", b"\xff\xfe", b"a\x80b", b"\xc3\x28", b"\xed\xa0\x80")
"""Names of files that are not UTF-8."""


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks by names, spread evenly over what has a name."""
    _material()
    rows: list[tuple[str, Callable[[Random, Path], tuple[Outcome, str]]]] = [
        ("names of files", _attack_files),
        ("names of labels", _attack_labels),
        ("names of models", _attack_models),
        ("names of patients", _attack_patients),
    ]
    for number in range(count):
        row, attack = rows[number % len(rows)]
        yield Case(row, f"#{number} seed {seed}", _bind(attack, number, seed))


def _bind(
    attack: Callable[[Random, Path], tuple[Outcome, str]], number: int, seed: int
) -> Callable[[], tuple[Outcome, str]]:
    def run() -> tuple[Outcome, str]:
        with tempfile.TemporaryDirectory() as name:
            return attack(generator(seed, "names", number), Path(name))

    return run


@lru_cache(maxsize=1)
def _material() -> dict[str, bytes]:
    """Return a video; import what commands need before the first fork."""
    import numpy as np

    import endofm.cli.main  # noqa: F401
    from endofm import EndoFMForSegmentation, EndoFMForVideoClassification  # noqa: F401
    from endofm.video.writer import write_video

    small_model()
    pixels = np.random.default_rng(0).integers(40, 200, (12, 40, 56, 3), np.uint8)
    with tempfile.TemporaryDirectory() as name:
        write_video(Path(name) / "video.mp4", pixels, fps=10)
        return {"video": (Path(name) / "video.mp4").read_bytes()}


def _text(rng: Random) -> str:
    text = rng.choice(TEXTS)
    return text if rng.random() < 0.7 else text + rng.choice(TEXTS)


def _file_name(rng: Random) -> bytes:
    """Return a name that a file can have here."""
    name = _text(rng).encode("utf-8", "replace") if rng.random() < 0.75 else rng.choice(SPELLINGS)
    return name.replace(b"/", b"_").replace(b"\0", b"_")[: rng.choice((60, 200, 240))] + b".mp4"


def _attack_files(rng: Random, root: Path) -> tuple[Outcome, str]:
    """Run a command on three videos, two of them with hostile names."""
    source, out = root / "videos", root / "out"
    source.mkdir()
    names = {_file_name(rng), _file_name(rng), b"plain.mp4"}
    for name in names:
        (source / os.fsdecode(name)).write_bytes(_material()["video"])
    given = ["./videos"]
    if rng.random() < 0.3:
        given = [f"videos/{os.fsdecode(name)}" for name in sorted(names)]
    # Hidden files in a folder are not recordings; named one by one, they are.
    expected = names if given != ["./videos"] else {name for name in names if not name.startswith(b".")}
    command = rng.choice(_COMMANDS)
    weights = _save_model(command[0], root / "weights")
    arguments = [part for part in command if part]
    if command[0] == "data":
        arguments += ["videos", "out"] if "folder" in command else ["videos"]
    else:
        arguments += [*given, "-o", "out", "--weights", weights]
    if command[0] == "extract":
        arguments += ["--window-seconds", "0.5"]
    detail = f"{' '.join(arguments)[:120]!r} on {sorted(names)!r}"
    outcome, text = _run(arguments, root)
    if outcome in (Outcome.OK, Outcome.ERROR):
        problem = _inspect(out) or _inspect_videos(out, command, len(expected), outcome)
        if problem:
            return Outcome.SILENT, f"{problem}: {detail}"
    return outcome, f"{text[-200:]} {detail}"


_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("extract", "--format", "safetensors"),
    ("extract", "--format", "npz"),
    ("extract", "--format", "parquet"),
    ("extract", "--format", "h5"),
    ("extract", "--plot"),
    ("classify", "--format", "json"),
    ("classify", "--format", "csv"),
    ("detect", "--format", "json"),
    ("detect", "--format", "csv"),
    ("detect", "--paint"),
    ("segment", "--format", "json"),
    ("segment", "--format", "png"),
    ("segment", "--paint"),
    ("data", "prepare", "folder"),
    ("data", "check"),
)


def _attack_labels(rng: Random, root: Path) -> tuple[Outcome, str]:
    """Give classes hostile names: save, load, run on a video, describe."""
    labels = (_text(rng), _text(rng), "plain")
    command = rng.choice([command for command in _COMMANDS if command[0] in ("classify", "detect", "segment")])
    weights = _save_model(command[0], root / "weights", labels=labels)
    (root / "a.mp4").write_bytes(_material()["video"])
    arguments = [*command, "a.mp4", "-o", "out", "--weights", weights]
    if command[0] == "classify" and rng.random() < 0.3:
        arguments.append("--plot")
    if rng.random() < 0.15:
        arguments = ["info", weights]
    return _run_and_inspect(arguments, root, f"{labels!r}"[:150])


def _attack_models(rng: Random, root: Path) -> tuple[Outcome, str]:
    """Give a model a hostile name and licence; its card must keep its shape."""
    name, licence = _text(rng), _text(rng)
    weights = _save_model(rng.choice(("extract", "classify")), root / "weights", name=name, license=licence)
    card = (root / "weights" / "README.md").read_text(encoding="utf-8")
    if problem := _inspect_card(card):
        return Outcome.SILENT, f"{problem}: {name!r}, {licence!r}"
    (root / "a.mp4").write_bytes(_material()["video"])
    arguments = rng.choice(
        (["info", weights], ["extract", "a.mp4", "-o", "out", "--weights", weights, "--window-seconds", "0.5"])
    )
    return _run_and_inspect(arguments, root, f"{name!r}, {licence!r}"[:150])


def _attack_patients(rng: Random, root: Path) -> tuple[Outcome, str]:
    """Score a classifier on a list whose patients, labels and files have hostile names."""
    names = [b"a.mp4", b"b.mp4", _file_name(rng)]
    rows = []
    for number, name in enumerate(names):
        (root / os.fsdecode(name)).write_bytes(_material()["video"])
        rows.append([os.fsdecode(name), ("polyp", "normal")[number % 2], _text(rng).replace("\ud800", "?")])
    if rng.random() < 0.3:
        rows[0][1] = _text(rng).replace("\ud800", "?")
    with (root / "list.csv").open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient"], *rows])
    labels = tuple(dict.fromkeys(row[1] for row in rows)) if rng.random() < 0.5 else ("normal", "polyp")
    weights = _save_model("classify", root / "weights", labels=labels)
    arguments = ["evaluate", "classification", "list.csv", "--weights", weights, "-o", "out", "--num-workers", "0"]
    arguments += ["--resamples", "5"]
    return _run_and_inspect(arguments, root, f"{rows!r}"[:200])


def _save_model(command: str, folder: Path, *, labels: tuple[str, ...] = ("normal", "polyp"), **config: str) -> str:
    """Save a small model for a command into a folder; return its path relative to the parent."""
    from dataclasses import replace

    from endofm import EndoFM, EndoFMForDetection, EndoFMForSegmentation, EndoFMForVideoClassification
    from endofm.tasks.classification.config import ClassificationHeadConfig
    from helpers.small_segmenter import segmentation_head, small_segmenter
    from helpers.tiny_detector import tiny_config

    if command in ("data",):
        return ""
    encoder = small_model().config
    if command == "extract":
        model = small_model() if not config else EndoFM(replace(encoder, **config))
    elif command in ("classify",):
        model = EndoFMForVideoClassification(replace(encoder, head=ClassificationHeadConfig(labels=labels), **config))
    elif command == "detect":
        model = EndoFMForDetection(replace(tiny_config(64, labels=labels), **config))
    else:
        template = small_segmenter("light").config
        head = replace(segmentation_head("light"), labels=labels)
        model = EndoFMForSegmentation(replace(template, head=head, **config))
    model.eval().save_pretrained(folder)
    return folder.name


def _run_and_inspect(arguments: list[str], root: Path, detail: str) -> tuple[Outcome, str]:
    outcome, text = _run(arguments, root)
    if outcome in (Outcome.OK, Outcome.ERROR) and (problem := _inspect(root / "out")):
        return Outcome.SILENT, f"{problem}: {arguments[:6]!r} on {detail}"
    return outcome, f"{text[-200:]} {arguments[:6]!r} on {detail}"


def _run(arguments: list[str], root: Path) -> tuple[Outcome, str]:
    """Run a command in this process, in a folder; return the outcome and what it printed."""
    from endofm.cli.main import main

    before = set(root.rglob("*"))
    printed = io.BytesIO()
    out = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(printed, encoding="utf-8", errors="backslashreplace", write_through=True)
    os.chdir(root)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        os.chdir("/")
    text = printed.getvalue().decode("utf-8", "backslashreplace")
    # The report of `data check` lies in the folder that was checked.
    strange = {path for path in set(root.rglob("*")) - before if path.relative_to(root).parts[0] != "out"}
    strange -= {root / "videos" / "check.json"}
    if strange:
        return Outcome.SILENT, f"files outside the output folder: {sorted(map(str, strange))[:3]}"
    if found := re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", _without_progress(text)):
        return (
            Outcome.SILENT,
            f"printed the control character {found[0]!r}: {text[max(0, found.start() - 60) :][:150]!r}",
        )
    if "unexpected" in text or "Traceback" in text:
        return Outcome.FOREIGN, text[-300:]
    # `data check` ends with 1 if it has found something, which it lists.
    if status and arguments[:2] != ["data", "check"] and "error:" not in text and "failed" not in text:
        return Outcome.SILENT, f"status {status} without a reason: {text[-200:]!r}"
    return (Outcome.ERROR if status else Outcome.OK), text


def _without_progress(text: str) -> str:
    return text.replace("\x1b[A", "")


def _inspect(out: Path) -> str:
    """Return what is wrong with the files that a command has written, or an empty string."""
    from PIL import Image

    for path in sorted(out.rglob("*")):
        suffix = path.suffix.lower()
        if suffix == ".json":
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                return f"{path.name!r} is not JSON in UTF-8 ({error})"
            if "unexpected " in json.dumps(content.get("videos", "") if isinstance(content, dict) else ""):
                return f"unexpected exception in the manifest: {json.dumps(content['videos'])[:300]}"
        elif suffix == ".csv":
            with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                rows = list(csv.reader(file))
            if len({len(row) for row in rows if row}) > 1:
                return f"{path.name!r} has rows of different lengths"
            # Lists that commands read again hold paths as they are; reports are for people, with spreadsheets.
            if path.name not in ("manifest.csv", "clean.csv", "train.csv"):
                for cell in (cell for row in rows for cell in row):
                    if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(cell):
                        return f"{path.name!r} holds the formula {cell[:40]!r}"
        elif suffix in (".md", ".html"):
            text = path.read_text(encoding="utf-8")
            if "<script" in text or "<b>bold" in text:
                return f"{path.name!r} holds markup of a name"
        elif suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        elif ".partial" in path.name:
            return f"{path.name!r} was left over"
    return ""


def _inspect_videos(out: Path, command: tuple[str, ...], count: int, outcome: Outcome) -> str:
    """Return whether videos are missing from the manifest, or were refused for their names."""
    if command[0] == "data" or outcome is not Outcome.OK:
        return ""
    videos = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["videos"]
    outputs = {unicodedata.normalize("NFC", row["output"]) for row in videos}
    if len(videos) != count or len({row["output"] for row in videos}) != count or len(outputs) > count:
        return f"{len(videos)} of {count} videos in the manifest"
    return ""


def _inspect_card(card: str) -> str:
    """Return whether a name has changed the shape of a model card."""
    import yaml

    head = card.split("---\n")[1]
    values = yaml.safe_load(head)
    if not isinstance(values, dict) or values.get("library_name") != "endofm":
        return f"the head of the card is {head[:80]!r}"
    known = {"library_name", "pipeline_tag", "license", "license_name", "license_link", "datasets", "tags"}
    if set(values) - known:
        return f"the head of the card has the keys {sorted(set(values) - known)}"
    if re.search(r"(?<!\\)<script|[^\\]\]\(http://x|^# heading|^# Title|^license: evil|^- item", card, re.MULTILINE):
        return "the card holds markup of a name"
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
