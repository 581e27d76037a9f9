"""Saved features with labels: the class and the patient or video of every clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from endofm.address import Address, full_name, located
from endofm.data.clip_table import ClipTable
from endofm.data.listing import read_clips
from endofm.errors import InputError
from endofm.evaluation.folds import group_folds
from endofm.inference.job_manifest import read_entries
from endofm.output_place import place_of
from endofm.resume import manifest_name
from endofm.tasks.features.feature_set import FeatureSet
from endofm.tasks.features.results import VideoFeatures

_SHOWN = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledFeatures:
    """Embeddings of clips with their classes.

    Attributes:
        embeddings: float32 ``(num_clips, embed_dim)``.
        labels: int64 ``(num_clips,)``, indices into ``classes``.
        groups: Patient of every clip, else its video; never split.
        items: Labelled item (a video, or a labelled part of one) that every clip belongs to.
        classes: Names of the classes.
        untrained: Whether the features come from random weights.
    """

    embeddings: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    groups: Sequence[str]
    items: Sequence[str]
    classes: tuple[str, ...]
    untrained: bool = False

    def __post_init__(self) -> None:
        count = len(self.embeddings)
        if self.embeddings.ndim != 2 or not count:
            raise InputError(f"features need at least one row of embeddings, got shape {self.embeddings.shape}")
        if not (len(self.labels) == len(self.groups) == len(self.items) == count):
            raise InputError(f"{count} embeddings need as many labels, groups and items")

    def __len__(self) -> int:
        return len(self.embeddings)

    def select(self, indices: npt.ArrayLike) -> LabelledFeatures:
        """Return the clips at some indices."""
        selected = np.asarray(indices, np.int64)
        return replace(
            self,
            embeddings=self.embeddings[selected],
            labels=self.labels[selected],
            groups=[self.groups[index] for index in selected],
            items=[self.items[index] for index in selected],
        )


def validation_pairs(
    train: LabelledFeatures, validation: LabelledFeatures | None, *, folds: int = 3, seed: int = 0
) -> Iterator[tuple[LabelledFeatures, LabelledFeatures]]:
    """Yield clips to train on and clips to choose a setting on.

    Args:
        train: Clips that a setting is chosen for.
        validation: Clips to choose it on; None for folds of the training clips that never split a patient or video.
        folds: Number of these folds.
        seed: Seed of these folds.

    Raises:
        InputError: If there are too few groups for the folds.
    """
    if validation is not None:
        yield train, validation
        return
    for inner, held in group_folds(train.labels, train.groups, train.classes, folds, seed=seed):
        yield train.select(inner), train.select(held)


def load_labelled(
    features: str | Path | Address, labels: str | Path, *, classes: Sequence[str] | None = None
) -> LabelledFeatures:
    """Read the feature files of ``endofm extract`` with the labels of a list.

    Args:
        features: Folder of feature files, or an address in object storage.
        labels: Manifest of a prepared set, or a list ``path,label[,start,end]``; see
            :func:`~endofm.data.listing.read_clips`. Its paths are those of the videos, or the names of the feature
            files without their suffix. A line with ``start`` and ``end`` labels the clips whose midpoint lies between.
        classes: Names of the classes in order; those of the list by default.

    Raises:
        InputError: If the folder or list cannot be understood, or a labelled video has no features.
        FeatureFileError: If a feature file is damaged.
    """
    folder = located(features)
    table = read_clips(labels, classes=classes)
    known = feature_files(folder)
    files = [file_of(known, table, row) for row in range(len(table))]
    labelled = [row for row in range(len(table)) if table.label[row] >= 0]
    missing = [table.id[row] for row in labelled if files[row] is None]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise InputError(
            f"{folder}: there are no features of {', '.join(missing[:_SHOWN])}{more}, which {labels} lists; extract "
            "them first, or give the paths as `endofm extract` was given them"
        )
    parts: list[npt.NDArray[np.float32]] = []
    numbers: list[int] = []
    groups: list[str] = []
    items: list[str] = []
    untrained = False
    # Lines of one video follow each other in most lists, so that keeping the last file avoids reading it again.
    opened: tuple[Path | Address, VideoFeatures] | None = None
    for row in labelled:
        file = files[row]
        assert file is not None
        if opened is None or opened[0] != file:
            opened = (file, VideoFeatures.load(file))
        video = opened[1]
        untrained = untrained or video.untrained
        # A clip belongs to the line that its midpoint falls into, so that it is never counted for two lines.
        middle = (video.start_seconds + video.end_seconds) / 2
        inside = (middle >= table.start[row]) & (middle < table.end[row])
        if parts and video.embed_dim != parts[0].shape[1]:
            raise InputError(
                f"{file}: embeddings of width {video.embed_dim}, but earlier files have width {parts[0].shape[1]}"
            )
        count = int(inside.sum())
        parts.append(video.embeddings[inside])
        numbers += [int(table.label[row])] * count
        groups += [table.group(row)] * count
        items += [table.id[row]] * count
    if not numbers:
        raise InputError(f"{labels}: none of its lines has a label that applies to a clip in {folder}")
    return LabelledFeatures(
        embeddings=np.concatenate(parts),
        labels=np.array(numbers, np.int64),
        groups=groups,
        items=items,
        classes=table.classes,
        untrained=untrained,
    )


def feature_files(folder: Path | Address) -> dict[str, Path | Address]:
    """Return feature files by the path of their video and by their file name without the suffix."""
    files = dict(FeatureSet.open(folder).files)
    if place_of(folder).existing_file(manifest_name(folder)):
        for entry in read_entries(folder):
            files[full_name(entry.source)] = folder / entry.output
    return files


def file_of(known: dict[str, Path | Address], table: ClipTable, row: int) -> Path | Address | None:
    """Return the features of a line: by the video's path, else by the name as listed."""
    names = (full_name(table.path[row]), table.video[row], table.id[row], table.path[row])
    return next((known[name] for name in names if name in known), None)
