"""From a checkpoint of the original code to a model's tensors and configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from endofm.config import ModelConfig
from endofm.errors import InputError
from endofm.hub.checkpoint import read_checkpoint
from endofm.hub.checksum import file_sha256
from endofm.hub.layout import FoundModel, HubTask, ReadOptions, hub_task, hub_tasks
from endofm.hub.registry import WeightRecord, find_record_of_file
from endofm.task_table import task_names


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """The model in a checkpoint file, and what was found on the way.

    Attributes:
        config: Configuration; that of the record if the file is a registered one.
        sha256: sha256 of the checkpoint file.
        record: Record that the file belongs to, None for an unknown file or for another part than the record's.
        found: Layout, part that was taken, and what was left out.
    """

    config: ModelConfig
    sha256: str
    record: WeightRecord | None
    found: FoundModel

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """The model's tensors by name."""
        return self.found.tensors


def convert_checkpoint(
    path: str | Path,
    *,
    part: str | None = None,
    num_heads: int | None = None,
    task: str | None = None,
    labels: Sequence[str] | None = None,
) -> ConvertedCheckpoint:
    """Read the model out of an original ``.pth`` file.

    Args:
        path: Checkpoint file.
        part: ``"teacher"`` or ``"student"`` of a training checkpoint; the teacher by default.
        num_heads: Attention heads per block, which the tensors do not tell; by default those of the record if the
            file is a registered one, otherwise heads of width 64.
        task: What to take from a file that holds more than an encoder: ``"features"`` leaves the head out. By default
            what the file was made for.
        labels: Names of the classes of a fine-tuned file, which the tensors do not tell; by default those of the
            record, otherwise numbered ones.

    Raises:
        UnsafeCheckpointError: If the file holds anything but tensors and plain values.
        CheckpointFormatError: If it is damaged or of no known layout, or holds values that are not finite.
        StateDictError: If its tensors are not exactly those of a model.
        InputError: If the part is not there, or an argument contradicts the record or the file.
    """
    content = read_checkpoint(path)
    sha256 = file_sha256(path)
    record = find_record_of_file(sha256)
    if record and num_heads not in (None, record.config.encoder.num_heads):
        raise InputError(
            f"{path}: this is the file of {record.name}, which has {record.config.encoder.num_heads} attention heads, "
            f"not {num_heads}"
        )
    layout = _choose(content, task, record, part, str(path))
    license_id = record.license if record else ""
    if record is not None and (record.config.task != layout.name or part == "student"):
        record = None  # another part of a registered file
    known = record.config if record else None
    if labels is not None and layout.name == "features":
        raise InputError(f"{path}: labels are for files with a classifier; an encoder is taken from this one")
    found = layout.read(
        content, ReadOptions(part=part, num_heads=num_heads, labels=labels, known=known, where=str(path))
    )
    if known is not None:
        config = replace(known, source_sha256=sha256)
    else:
        config = ModelConfig(
            encoder=found.encoder,
            preprocess=found.preprocess,
            head=found.head,
            license=license_id,
            source_sha256=sha256,
        )
    return ConvertedCheckpoint(config=config, sha256=sha256, record=record, found=found)


def _choose(
    content: Mapping[str, Any], task: str | None, record: WeightRecord | None, part: str | None, where: str
) -> HubTask:
    """Return the task whose layout a file has."""
    if task is not None and task not in task_names():
        raise InputError(f"{where}: task must be one of {', '.join(task_names())}, got {task!r}")
    if part is not None:
        return hub_task(task or "features")  # only training checkpoints have parts
    if task is not None:
        return hub_task(task)
    if record is not None:
        return hub_task(record.config.task)
    return next(layout for layout in hub_tasks() if layout.matches(content))
