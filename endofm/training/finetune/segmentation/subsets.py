"""Who learns, who chooses the epoch, and who is reported on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from endofm.data.hold_out import hold_out
from endofm.data.segmentation.masked_clips import MaskedClip, read_list
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
    return Subsets.of(
        train,
        validation,
        test,
        hold_out=lambda clips: hold_out(clips, lambda clip: clip.group, data.validation_fraction, seed),
        groups_of=lambda clips: {clip.group for clip in clips},
        select_on_test=data.select_on_test,
        allow_overlap=data.allow_overlap,
    )


def _read(sources: Sequence[str], part: str, root: str | None) -> list[MaskedClip]:
    return [clip for source in sources for clip in read_list(source, part=part, root=root)]


def _beside(sources: Sequence[str], part: str) -> tuple[str, ...]:
    """Return the lists of a part that lie in the folders of other ones."""
    folders = [Path(source) for source in sources if Path(source).is_dir()]
    found = [
        folder for folder in folders if (folder / f"{part}.csv").is_file() or (folder / f"lists/{part}.txt").is_file()
    ]
    return tuple(str(folder) for folder in found)
