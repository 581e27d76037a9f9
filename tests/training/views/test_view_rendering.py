"""Rendered views: batches, devices, and the published pixels."""

from __future__ import annotations

import json
from typing import cast

import numpy as np
import pytest
import torch

from endofm.training.objectives.endofm.endofm_config import EndoFMPublishedConfig
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_crops import CropViews, ViewCrops
from endofm.training.views.view_draws import (
    Appearance,
    ViewDraw,
    draw_appearance,
    draw_box,
)
from endofm.training.views.view_rendering import render_views
from endofm.transforms.geometry import Box
from helpers.golden_fill import uint8_clip
from helpers.paths import GOLDEN
from helpers.recorded_draws import RecordedDraws

SMALL = ViewConfig(global_frames=(2, 3), local_frames=(1, 2, 2), global_size=32, local_size=16)


CLIPS = [uint8_clip("a", (12, 40, 56, 3)), uint8_clip("b", (9, 48, 32, 3))]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def finished(clip: np.ndarray, seed: int, device: str = "cpu") -> list[torch.Tensor]:
    return [view[0] for view in render_views(CropViews(SMALL)(clip, generator(seed)).to(device), SMALL)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_views_of_a_batch_are_those_of_its_clips_on_every_device(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    clips = [CropViews(SMALL)(clip, generator(i)) for i, clip in enumerate(CLIPS)]
    batch = ViewCrops.collate(clips)
    assert len(batch) == 2
    together = render_views(batch.to(device), SMALL)
    alone = [finished(clip, i) for i, clip in enumerate(CLIPS)]
    for view, frames, size in zip(range(5), SMALL.frames, SMALL.sizes, strict=True):
        assert together[view].shape == (2, 3, frames, size, size)
        expected = torch.stack([views[view] for views in alone])
        torch.testing.assert_close(together[view].cpu(), expected, rtol=0, atol=2e-6)
    assert all(torch.equal(a, b) for a, b in zip(alone[0], finished(CLIPS[0], 0), strict=True))


def test_all_frames_of_a_view_share_its_draws() -> None:
    still = np.repeat(CLIPS[0][:1], 12, axis=0)
    for view in finished(still, 1):
        torch.testing.assert_close(view, view[:, :1].expand_as(view))


PIXELS = np.load(GOLDEN / "preprocess.npz")


META = json.loads((GOLDEN / "preprocess_meta.json").read_text())


PUBLISHED = EndoFMPublishedConfig().views


PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.mark.parametrize(("size", "step"), [(224, 7), (96, 4)])
def test_resizing(size: int, step: int) -> None:
    draw = ViewDraw((0, 1), Box(5, 10, 40, 60), size, Appearance())
    config = ViewConfig(global_frames=(2, 2), local_frames=(), global_size=size, **PLAIN)
    view = render_views(ViewCrops.crop(uint8_clip("ssl", (2, 60, 80, 3)), [draw, draw]), config)[1]
    resized = view[0].transpose(0, 1)[:, :, ::step, ::step]
    np.testing.assert_allclose(resized, PIXELS[f"ssl/bicubic{size}_of_5:45_10:70"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "step"), [("global1", 7), ("global2", 7), ("local", 4)])
def test_rendered_views(name: str, step: int) -> None:
    recorded = META[f"ssl_{name}"]
    draws = RecordedDraws(recorded["torch_draws"], recorded["numpy_draws"])
    scale, size = (PUBLISHED.local_scale, 96) if name == "local" else (PUBLISHED.global_scale, 224)
    source = cast(np.random.Generator, draws)
    box = draw_box(60, 80, scale, source, rule=PUBLISHED.crop_rule)
    assert [box.height, box.width] == recorded["crop_height_width"]
    draw = ViewDraw((0, 1), box, size, draw_appearance(PUBLISHED, source))
    assert draw.appearance.flip
    # What remains are the draws of blur and solarisation, which do nothing in the original either.
    assert not draws.torch
    assert len(draws.numpy) == {"global1": 0, "global2": 2, "local": 1}[name]
    config = ViewConfig(global_frames=(2,), local_frames=(2,), global_size=size, local_size=size)
    view = render_views(ViewCrops.crop(uint8_clip("ssl", (2, 60, 80, 3)), [draw, draw]), config)[0]
    expected = PIXELS[f"ssl/{name}/sub"]
    # Values of order 2 after division by the deviation; the original rounds after each of its steps.
    np.testing.assert_allclose(view[0].transpose(0, 1)[:, :, ::step, ::step], expected, rtol=0, atol=1.5e-6)
