"""Batches of clips: all clips, in order, equal to stacking them, and nothing held beyond one batch and two clips."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.inference.streaming import Clip, batch_clips


def clip(number: int) -> Clip:
    pixels = torch.full((3, 2, 4, 4), float(number)) + torch.arange(4)
    return Clip(pixels, float(number), number + 1.0, np.array([number, number + 0.5]))


@settings(deadline=None)
@given(count=st.integers(0, 9), batch_size=st.integers(1, 5))
def test_batches_are_the_clips_stacked(count: int, batch_size: int) -> None:
    clips = [clip(number) for number in range(count)]
    batches = list(batch_clips(iter(clips), batch_size))
    assert [len(part) for part, _ in batches] == [min(batch_size, count - i) for i in range(0, count, batch_size)]
    for i, (part, pixels) in enumerate(batches):
        expected = clips[i * batch_size : i * batch_size + len(part)]
        assert torch.equal(pixels, torch.stack([item.pixels for item in expected]))
        assert [item.start_seconds for item in part] == [item.start_seconds for item in expected]
        assert all(len(item.pixels) == 0 for item in part)


def test_a_clip_is_let_go_once_it_is_in_its_batch() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def stream() -> Iterator[Clip]:
        nonlocal most
        for number in range(12):
            made = clip(number)
            alive.append(weakref.ref(made.pixels))
            most = max(most, sum(ref() is not None for ref in alive))
            yield made
            del made

    for _, pixels in batch_clips(stream(), 4):
        assert len(pixels) == 4
        del pixels
    gc.collect()
    assert most <= 2
    assert not any(ref() is not None for ref in alive)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_outlives_the_stream(dtype: torch.dtype) -> None:
    clips = [item._replace(pixels=item.pixels.to(dtype)) for item in map(clip, range(3))]
    kept = [pixels[1:] for _, pixels in batch_clips(iter(clips), 3)]
    gc.collect()
    assert torch.equal(kept[0], torch.stack([item.pixels for item in clips[1:]]))
