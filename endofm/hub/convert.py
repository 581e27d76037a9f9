"""Conversion of a published checkpoint to a model's tensors and configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from endofm.config import ModelConfig
from endofm.errors import InputError, quoted
from endofm.hub.checkpoint_file import read_checkpoint
from endofm.hub.download import file_sha256
from endofm.hub.registry import find_record_of_file
from endofm.hub.task_layout import (
    PublishedModel,
    ReadOptions,
    TaskLayout,
    check_tensors,
    task_layout,
    task_layouts,
)
from endofm.hub.weight_record import WeightRecord
from endofm.task_table import FEATURES, task_names


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """A converted checkpoint.

    Attributes:
        config: Configuration; that of the record if the file is a registered one.
        sha256: sha256 of the checkpoint file.
        record: Record that the file belongs to, None for an unknown file or for another part than the record's.
        published: The model as found in the file: tensors, layout, part that was read, and what was left out.
    """

    config: ModelConfig
    sha256: str
    record: WeightRecord | None
    published: PublishedModel

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """The model's tensors by name."""
        return self.published.tensors


def convert_checkpoint(
    path: str | Path,
    *,
    part: str | None = None,
    num_heads: int | None = None,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    record: WeightRecord | None = None,
) -> ConvertedCheckpoint:
    """Read the model in a published ``.pth`` file.

    Args:
        path: Checkpoint file.
        part: Entry to read: ``"teacher"`` or ``"student"`` of a training checkpoint (the teacher by default), or any
            other of a file with several networks, such as ``"model_ema"``.
        num_heads: Attention heads per block, which cannot be inferred from the tensors; by default those of the record
            if the file is a registered one, otherwise heads of width 64.
        task: Model to read from a file that holds more than an encoder: ``"features"`` leaves the head out. By default
            the task that the file was trained for.
        labels: Names of the classes of a fine-tuned file, which it does not contain; by default those of the record,
            otherwise numbered ones.
        record: Record that the file is taken to be of; by default the one that states its checksum.

    Raises:
        UnsafeCheckpointError: If the file holds anything but tensors and plain values.
        CheckpointFormatError: If it is damaged or of no supported layout, or holds values that are not finite.
        StateDictError: If its tensors are not exactly those of a model.
        InputError: If the part is missing, or an argument contradicts the record or the file.
    """
    content = read_checkpoint(path)
    sha256 = file_sha256(path)
    # The published file is recognised by its checksum, whatever its name and folder are.
    record = record or find_record_of_file(sha256)
    heads = getattr(record.config.encoder, "num_heads", None) if record else None
    if record and num_heads not in (None, heads):
        raise InputError(
            f"{path}: this is the file of {record.name}, which has {heads} attention heads, not {num_heads}"
        )
    layout = _select_layout(content, task, record, str(path))
    # The licence covers the file, so that it holds for the student as well, which has no record.
    license_id = record.license if record else ""
    if record is not None and (record.config.task != layout.name or part == "student"):
        record = None  # another part of a registered file
    registered = record.config if record else None
    if labels is not None and layout.name == FEATURES:
        raise InputError(f"{path}: labels are for files with a classifier; this one is read as an encoder")
    published = layout.read(
        content,
        ReadOptions(
            part=part,
            num_heads=num_heads,
            labels=labels,
            registered=registered,
            left_out=record.left_out if record else (),
            source=str(path),
        ),
    )
    if registered is not None:
        config = replace(registered, source_sha256=sha256)
    else:
        config = ModelConfig(
            encoder=published.encoder,
            preprocess=published.preprocess,
            head=published.head,
            license=license_id,
            source_sha256=sha256,
        )
    # A layout only renames and infers; whether tensors are missing or left over is decided by the network.
    check_tensors(config, published.tensors, source=str(path))
    return ConvertedCheckpoint(config=config, sha256=sha256, record=record, published=published)


def _select_layout(
    content: Mapping[str, Any], task: str | None, record: WeightRecord | None, source: str
) -> TaskLayout:
    """Return the layout to read a file with."""
    if task is not None and task not in task_names():
        raise InputError(f"{source}: task must be one of {', '.join(task_names())}, got {quoted(task)}")
    if task is not None:
        return task_layout(task)
    if record is not None:
        return task_layout(record.config.task)
    return next(layout for layout in task_layouts() if layout.matches(content))
