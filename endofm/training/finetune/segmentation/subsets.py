"""Who learns, who chooses the epoch, and who is reported on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from endofm.errors import InputError
from endofm.training.finetune.segmentation.clips import MaskedClip, read_list, shared_groups
from endofm.training.finetune.segmentation.config import DataConfig
from endofm.training.finetune.subsets import Subsets


def read_subsets(data: DataConfig, *, seed: int) -> Subsets[list[MaskedClip]]:
    """Read the lists, and hold out a validation set if none is named.

    Of a folder in ``data.train``, the lists ``val`` and ``test`` that lie in it are taken unless others are named.

    Args:
        data: Lists and rules.
        seed: Seed of the held-out part.

    Raises:
        InputError: If a list cannot be read, is empty, or shares patients (or videos) with another.
    """
    train = _read(data.train, "train", data.root)
    test = _read(data.test or _beside(data.train, "test"), "test", data.root) or None
    validation = _read(data.validation or _beside(data.train, "val"), "val", data.root) or None
    notes = []
    if data.select_on_test:
        if test is None:
            raise InputError("choosing the epoch on the test list needs a test list: data.test=LIST")
        validation = test
        notes.append("The epoch was chosen on the test list, as published: these numbers are too good.")
    elif validation is None:
        validation, train = _held_out(train, data.validation_fraction, seed)
    pairs = [("training", train, "validation", validation)]
    if test is not None:
        pairs += [("training", train, "test", test)]
        if not data.select_on_test:
            pairs += [("validation", validation, "test", test)]
    for name, one, other_name, other in pairs:
        shared = shared_groups(one, other)
        words = f"{len(shared)} patients or videos are both in the {name} list and in the {other_name} list"
        if shared and not data.allow_overlap:
            raise InputError(
                f"{words} ({', '.join(shared[:3])}); a score on them would say nothing about new ones. If that is what "
                f"you want, set data.allow_overlap=true"
            )
        if shared:
            notes.append(f"{words}: these numbers say little about new ones.")
    return Subsets(train, validation, test, tuple(dict.fromkeys(notes)))


def _read(sources: Sequence[str], part: str, root: str | None) -> list[MaskedClip]:
    return [clip for source in sources for clip in read_list(source, part=part, root=root)]


def _beside(sources: Sequence[str], part: str) -> tuple[str, ...]:
    """Return the lists of a part that lie in the folders of other ones."""
    folders = [Path(source) for source in sources if Path(source).is_dir()]
    found = [
        folder for folder in folders if (folder / f"{part}.csv").is_file() or (folder / f"lists/{part}.txt").is_file()
    ]
    return tuple(str(folder) for folder in found)


def _held_out(clips: list[MaskedClip], fraction: float, seed: int) -> tuple[list[MaskedClip], list[MaskedClip]]:
    """Return a held-out part and the rest; whole groups, in an order that depends on their names and the seed alone."""
    groups = sorted(
        {clip.group for clip in clips}, key=lambda name: hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    )
    if len(groups) < 2:
        raise InputError("a validation set cannot be held out of a single patient or video; name one (data.validation)")
    held = set(groups[: min(max(1, round(fraction * len(groups))), len(groups) - 1)])
    return [clip for clip in clips if clip.group in held], [clip for clip in clips if clip.group not in held]
