"""Which videos are learnt from, which choose the epoch, and which are reported on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from endofm.data.detection.detection_set import DetectionSet, LabelledVideo
from endofm.data.detection.open_set import open_detection_set
from endofm.data.hold_out import hold_out
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
    subsets = Subsets.of(
        train,
        validation,
        test,
        hold_out=lambda source: _hold_out(source, config.validation_fraction, seed),
        groups_of=_patients_or_images,
        unit="patients or images",
    )
    reported, _, _ = subsets.reported()
    # Boxes that were cut off or left out in the set that is reported, the first of them.
    return replace(subsets, notes=(*subsets.notes, *reported.notes[:20]))


def _hold_out(source: DetectionSet, fraction: float, seed: int) -> tuple[DetectionSet, DetectionSet]:
    train, held = hold_out(source.videos, lambda video: video.patient, fraction, seed, labels_of=_labels_of)
    return replace(source, videos=tuple(train)), replace(source, videos=tuple(held))


def _labels_of(video: LabelledVideo) -> set[int]:
    return {label for frame in video.frames for label in frame.labels.tolist()}


def _patients_or_images(source: DetectionSet) -> set[str]:
    """Return the patients of a set where they are known, and all image files.

    Videos of different subsets may have the same name, so that a name says nothing about an overlap.
    """
    patients = {f"patient {video.patient}" for video in source.videos if video.patient != video.name}
    return patients | {str(frame.path) for video in source.videos for frame in video.frames}
