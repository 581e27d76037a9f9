"""From clips to batches, in memory that goes back to the system as soon as a batch is done with."""

from __future__ import annotations

import math
import mmap
from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from endofm.inference.clip_stream import Clip


def batch_clips(stream: Iterator[Clip], batch_size: int) -> Generator[tuple[list[Clip], Tensor], None, None]:
    """Yield up to ``batch_size`` clips at a time, without their pixels, and those pixels as one tensor.

    A clip is let go as soon as it is part of a batch, so that one batch and two clips (the last and the next) are held.

    Args:
        stream: Clips of one size.
        batch_size: Clips per batch, >= 1.

    Yields:
        The clips, each with pixels of length 0, and float32 ``(batch, channels, time, height, width)``, on the device
        of the clips.
    """
    clips: list[Clip] = []
    pixels: Tensor | None = None
    for clip in stream:
        if pixels is None:
            pixels = _room(clip.pixels, batch_size)
        pixels[len(clips)] = clip.pixels
        clips.append(clip._replace(pixels=pixels[:0]))
        if len(clips) == batch_size:
            yield clips, pixels
            clips, pixels = [], None
    if pixels is not None:
        yield clips, pixels[: len(clips)]


def _room(like: Tensor, count: int) -> Tensor:
    """Return an uninitialised tensor ``(count, *like.shape)`` of the same type on the same device.

    On the CPU its memory is mapped for it alone. The C library would place a batch in its heap, among smaller pieces
    that outlive it, and leave gaps that are not given back and grow over an hour of video.
    """
    shape = (count, *like.shape)
    if like.device.type != "cpu":
        return like.new_empty(shape)
    memory = mmap.mmap(-1, math.prod(shape) * like.element_size())  # unmapped when the last view of it is gone
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)
