"""Views against numbers of the original code: which frames, which box, which pixels."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest
import torch

from endofm.training.objectives.endofm.endofm_config import EndoFMPublishedConfig
from endofm.training.views.view_colours import apply_colour, colour_coefficients
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_crops import ViewCrops
from endofm.training.views.view_draws import Appearance, ViewDraw, draw_appearance, draw_box, draw_frames
from endofm.training.views.view_rendering import render_views
from endofm.transforms.geometry import Box
from helpers.golden_fill import uint8_clip
from helpers.paths import GOLDEN
from helpers.recorded_draws import RecordedDraws

PIXELS = np.load(GOLDEN / "preprocess.npz")
META = json.loads((GOLDEN / "preprocess_meta.json").read_text())
TEMPORAL = json.loads((GOLDEN / "decoding_indices.json").read_text())["temporal_views"]
CROPS = META["random_resized_crop"]
PUBLISHED = EndoFMPublishedConfig().views
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.mark.parametrize("case", TEMPORAL, ids=lambda case: f"{case['n']}-{case.get('rand_fr', True)}")
def test_frames_of_the_views(case: dict[str, Any]) -> None:
    draws = [["randint", low, high + 1, r] for (low, high), r in zip(case["draw_ranges"], case["draws"], strict=True)]
    config = ViewConfig() if case.get("rand_fr", True) else ViewConfig(global_frames=(8, 8), local_frames=(8,) * 8)
    frames = draw_frames(case["n"], config, cast(np.random.Generator, RecordedDraws(draws)))
    assert [view.tolist() for view in frames] == case["indices"]


@pytest.mark.parametrize("case", CROPS["cases"], ids=lambda case: f"{case['scale'][0]}-{case['torch_seed']}")
def test_box_that_the_original_cuts(case: dict[str, Any]) -> None:
    draws = RecordedDraws(case["draws"])
    box = draw_box(CROPS["H"], CROPS["W"], tuple(case["scale"]), cast(np.random.Generator, draws), rule="last_try")
    assert [box.top, box.left, box.height, box.width] == case["box_top_left_height_width"]
    assert not draws.torch


def test_some_golden_boxes_show_the_quirk() -> None:
    boxes = [case["box_top_left_height_width"] for case in CROPS["cases"]]
    assert any(top + height == CROPS["H"] or left + width == CROPS["W"] for top, left, height, width in boxes)


def changed(appearance: Appearance, **settings: Any) -> np.ndarray:
    frames = torch.from_numpy(uint8_clip("ssl", (2, 60, 80, 3))).permute(0, 3, 1, 2)
    config = ViewConfig(grey_weights="bgr", **settings)
    out = apply_colour(frames[None].float(), [colour_coefficients(appearance)], config)
    return out[0].transpose(0, 1)[:, :, ::4, ::4].numpy()


@pytest.mark.parametrize(
    ("name", "appearance"),
    [
        ("brightness_0.25", Appearance(changes=(("brightness", 1.25),))),
        ("contrast_-0.3", Appearance(changes=(("contrast", 0.7),))),
        ("saturation_0.15", Appearance(changes=(("saturation", 1.15),))),
        ("grayscale", Appearance(grey=True)),
    ],
)
def test_colour_changes(name: str, appearance: Appearance) -> None:
    np.testing.assert_allclose(changed(appearance, **PLAIN), PIXELS[f"ssl/{name}"], rtol=0, atol=1e-6)


def test_normalisation() -> None:
    np.testing.assert_allclose(changed(Appearance()), PIXELS["ssl/normalize"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "step"), [(224, 7), (96, 4)])
def test_resizing(size: int, step: int) -> None:
    draw = ViewDraw((0, 1), Box(5, 10, 40, 60), size, Appearance())
    config = ViewConfig(global_frames=(2, 2), local_frames=(), global_size=size, **PLAIN)
    view = render_views(ViewCrops.crop(uint8_clip("ssl", (2, 60, 80, 3)), [draw, draw]), config)[1]
    resized = view[0].transpose(0, 1)[:, :, ::step, ::step]
    np.testing.assert_allclose(resized, PIXELS[f"ssl/bicubic{size}_of_5:45_10:70"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "step"), [("global1", 7), ("global2", 7), ("local", 4)])
def test_whole_views(name: str, step: int) -> None:
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
