"""From a checkpoint of the original code to the encoder's tensors and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, InputError
from endofm.hub.checkpoint import EncoderTensors, find_encoder, read_checkpoint
from endofm.hub.checksum import file_sha256
from endofm.hub.infer import infer_encoder_config
from endofm.hub.registry import WeightRecord, find_record_of_file
from endofm.hub.state_dict import check_state_dict


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """The encoder of a checkpoint file, and what was found on the way.

    Attributes:
        config: Configuration; that of the record if the file is a registered one.
        sha256: sha256 of the checkpoint file.
        record: Record that the file belongs to, None for an unknown file or for another part than the teacher.
        found: Layout, part that was taken, and what was left out.
    """

    config: ModelConfig
    sha256: str
    record: WeightRecord | None
    found: EncoderTensors

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """The encoder's tensors by name."""
        return self.found.tensors


def convert_checkpoint(
    path: str | Path, *, part: str | None = None, num_heads: int | None = None
) -> ConvertedCheckpoint:
    """Read the encoder out of an original ``.pth`` file.

    Args:
        path: Checkpoint file.
        part: ``"teacher"`` or ``"student"`` of a training checkpoint; the teacher by default.
        num_heads: Attention heads per block, which the tensors do not tell; by default those of the record if the
            file is a registered one, otherwise heads of width 64.

    Raises:
        UnsafeCheckpointError: If the file holds anything but tensors and plain values.
        CheckpointFormatError: If it is damaged or of no known layout, or holds values that are not finite.
        StateDictError: If its tensors are not exactly those of an encoder.
        InputError: If the part is not there, or ``num_heads`` contradicts the record.
    """
    content = read_checkpoint(path)
    sha256 = file_sha256(path)
    known = find_record_of_file(sha256)
    if known and num_heads not in (None, known.config.encoder.num_heads):
        raise InputError(
            f"{path}: this is the file of {known.name}, which has {known.config.encoder.num_heads} attention heads, "
            f"not {num_heads}"
        )
    found = find_encoder(content, part=part, where=str(path))
    record = known if found.part != "student" else None
    encoder = read_encoder_config(found.tensors, num_heads=num_heads, where=str(path), record=record)
    if record is not None:
        config = replace(record.config, source_sha256=sha256)
    else:
        config = ModelConfig(
            encoder=encoder,
            preprocess=default_preprocess(encoder),
            license=known.license if known else "",
            source_sha256=sha256,
        )
    return ConvertedCheckpoint(config=config, sha256=sha256, record=record, found=found)


def read_encoder_config(
    tensors: Mapping[str, Tensor],
    *,
    num_heads: int | None = None,
    where: str = "checkpoint",
    record: WeightRecord | None = None,
) -> EncoderConfig:
    """Return the architecture of tensors that come without one, after checking that they are complete and finite.

    Args:
        tensors: The encoder's tensors by name.
        num_heads: Attention heads per block; heads of width 64 by default.
        where: Name of the file, for messages.
        record: Record whose architecture the tensors must have, if the file is a registered one.

    Raises:
        CheckpointFormatError: If the tensors do not tell an architecture or hold values that are not finite.
        StateDictError: If the tensors are not exactly those of the architecture.
    """
    shapes: dict[str, Any] = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    encoder = record.config.encoder if record else infer_encoder_config(shapes, num_heads=num_heads, where=where)
    check_state_dict(encoder, tensors, where=where)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointFormatError(
                f"{where}: tensor {name!r} holds values that are not finite; training diverged?"
            )
    return encoder


def default_preprocess(encoder: EncoderConfig) -> PreprocessConfig:
    """Return the preprocessing of a file that states none: that of pre-training, at the encoder's size."""
    return PreprocessConfig.for_image_size(encoder.img_size, num_frames=encoder.num_frames)
