"""Pictures of a data set, decoded once and kept in memory."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from endofm.data.clip_dataset import ClipDataset, SkippedClip
from endofm.data.clip_table import ClipTable
from endofm.data.frame_samplers import UniformFrames
from endofm.data.stills.still_bank import StillBank
from endofm.errors import InputError
from endofm.transforms.processor import resize_antialiased


def read_pictures(clips: ClipTable, *, per_clip: int, size: int) -> tuple[StillBank, dict[str, str]]:
    """Decode pictures from clips.

    Args:
        clips: Stills, videos or folders of frames.
        per_clip: Pictures of each clip, spread evenly from the first frame to the last.
        size: Side of the stored squares.

    Returns:
        The pictures, and the clips that could not be read, with the reason.

    Raises:
        InputError: If no clip can be read.
    """
    data = ClipDataset(clips, sampler=UniformFrames(per_clip))
    pixels: list[torch.Tensor] = []
    sizes: list[tuple[int, int]] = []
    ids: list[str] = []
    skipped: dict[str, str] = {}
    for index in range(len(data)):
        sample = data[index]
        if isinstance(sample, SkippedClip):
            skipped[sample.id] = sample.reason
            continue
        pixels += resize_antialiased(sample.frames, (size, size)).to(torch.uint8).permute(0, 3, 1, 2)
        height, width = sample.frames.shape[1:3]
        sizes += [(height, width)] * len(sample.frames)
        ids += [f"{sample.id}#{number}" for number in range(len(sample.frames))]
    if not pixels:
        raise InputError(f"none of the {len(clips)} clips could be read: {next(iter(skipped.values()), 'no clips')}")
    return StillBank(torch.stack(pixels).contiguous(), np.array(sizes, np.int64), tuple(ids)), skipped


def picture_digests(bank: StillBank) -> list[str]:
    """Return a checksum of the stored pixels of every picture."""
    return [hashlib.sha256(picture.numpy().tobytes()).hexdigest() for picture in bank.pixels]
