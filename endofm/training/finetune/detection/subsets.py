"""Which videos are learnt from, which choose the epoch, and which are reported on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from endofm.data.detection.detection_set import DetectionSet
from endofm.data.detection.open_set import open_detection_set
from endofm.errors import InputError
from endofm.training.finetune.detection.config import DataConfig
from endofm.training.finetune.subsets import Subsets


def read_detection_subsets(config: DataConfig, *, seed: int, progress: bool = True) -> Subsets[DetectionSet]:
    """Read the sets, and hold out validation videos if no set is named for it.

    Args:
        config: Where they are.
        seed: Seed of the held-out part.
        progress: Show a progress bar on a terminal.

    Raises:
        InputError: If something is wrong with a set, or a patient is on two sides.
    """

    def read(name: str, labels: tuple[str, ...]) -> DetectionSet:
        root = Path(config.root) if config.root is not None and not name.endswith(".json") else Path(name)
        split = "" if root == Path(name) else name
        return open_detection_set(
            root, split, labels=labels or None, fps=config.fps, clip=config.clip_boxes, progress=progress
        )

    train = read(config.train, config.labels)
    validation = read(config.validation, train.labels) if config.validation else None
    test = read(config.test, train.labels) if config.test else None
    if validation is None:
        train, validation = _hold_out(train, config.validation_fraction, seed)
    named = [("training", train), ("validation", validation), *([("test", test)] if test else [])]
    for place, (name, one) in enumerate(named):
        for other_name, other in named[place + 1 :]:
            _require_apart(name, one, other_name, other)
    judged = validation if test is None else test
    # What was cut off or left out in the set that is judged, the first of it.
    return Subsets(train, validation, test, judged.notes[:20])


def _hold_out(source: DetectionSet, fraction: float, seed: int) -> tuple[DetectionSet, DetectionSet]:
    groups = sorted({video.patient for video in source.videos})
    if len(groups) < 2:
        raise InputError(
            f"{source.name}: a validation set cannot be held out of a single patient or video; name one "
            "(data.validation)"
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    count = min(max(round(fraction * len(groups)), 1), len(groups) - 1)
    held = {groups[place] for place in order[:count]}
    parts = [tuple(v for v in source.videos if (v.patient in held) is side) for side in (False, True)]
    return replace(source, videos=parts[0]), replace(source, videos=parts[1])


def _require_apart(name: str, one: DetectionSet, other_name: str, other: DetectionSet) -> None:
    """Raise if a patient, or an image, is in both sets."""
    patients = [{v.patient for v in part.videos if v.patient != v.name} for part in (one, other)]
    images = [{frame.path for video in part.videos for frame in video.frames} for part in (one, other)]
    shared = sorted(patients[0] & patients[1]) or sorted(str(path) for path in images[0] & images[1])
    if shared:
        raise InputError(
            f"{len(shared)} patients or images are both in the {name} set and in the {other_name} set "
            f"({', '.join(shared[:3])}); a score on them would say nothing about new ones"
        )
