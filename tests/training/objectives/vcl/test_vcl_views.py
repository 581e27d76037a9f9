"""The six inputs of VCL: frames, crops, colours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.training.objectives.vcl import vcl_views
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_views import (
    CropVCLViews,
    TwoHalves,
    VCLCrops,
    VCLViews,
    render_vcl_views,
    six_inputs,
    view_config,
)
from endofm.training.views.view_draws import Appearance


def test_still_inputs_do_not_move_and_differences_wrap_around() -> None:
    views = VCLViews(torch.randn(2, 2, 3, 4, 8, 8), torch.randn(2, 2, 3, 8, 8))
    inputs = six_inputs(views)
    assert inputs.shape == (6, 2, 3, 4, 8, 8)
    torch.testing.assert_close(inputs[0], views.clips[:, 0])
    for number in (0, 1):
        still, moving, clip = inputs[2 + number], inputs[4 + number], inputs[number]
        assert not (still - still.roll(1, dims=2)).any()
        torch.testing.assert_close(moving[:, :, 0], clip[:, :, 0] - clip[:, :, -1])
        torch.testing.assert_close(moving[:, :, 2], clip[:, :, 2] - clip[:, :, 1])
    constant = VCLViews(torch.ones(1, 2, 3, 4, 8, 8), torch.ones(1, 2, 3, 8, 8))
    assert not six_inputs(constant)[4:].any()
    with pytest.raises(InputError, match="stills"):
        six_inputs(VCLViews(views.clips, views.stills[:1]))


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 200), clip_frames=st.integers(1, 16), seed=st.integers(0, 999))
def test_halves_follow_each_other_within_the_video(frames: int, clip_frames: int, seed: int) -> None:
    times = np.arange(frames) / 10
    chosen = TwoHalves(clip_frames, 3.0)(times, frames / 10, np.random.default_rng(seed))
    places = np.rint(chosen * 10).astype(int)
    assert len(places) == 2 * clip_frames
    assert set(places.tolist()) <= set(range(frames))
    steps = np.diff(places)
    assert (steps >= 0).all()
    assert (steps <= 3).all()
    if frames >= 2 * clip_frames:
        assert (steps >= 1).all()
    elif len(places) > 1:
        assert places[-1] - places[0] >= frames - 1 - math.ceil(frames / len(places))


def test_halves_reach_every_step_and_place() -> None:
    sampler, times = TwoHalves(4, 3.0), np.arange(24) / 10
    drawn = [sampler(times, 2.4, np.random.default_rng(seed)) for seed in range(200)]
    spans = {round(float(chosen[-1] - chosen[0]) * 10) for chosen in drawn}
    assert min(spans) == 7
    assert max(spans) >= 20
    assert {0.0, 2.3} <= {float(t) for chosen in drawn for t in chosen}


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


CONFIG = VCLConfig(clip_frames=4, crop_size=32)


def window(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 40, 48, 3), dtype=np.uint8)


def make(config: VCLConfig, seed: int, frames: np.ndarray | None = None) -> VCLViews:
    crops = CropVCLViews(config)(window() if frames is None else frames, np.random.default_rng(seed))
    clips, stills = render_vcl_views(crops, config)
    return VCLViews(clips[0], stills[0])


@pytest.mark.parametrize("colour", ["vcl", "endofm"])
def test_shapes_and_repeatability(colour: str) -> None:
    config = VCLConfig(**{**vars(CONFIG), "colour": colour})
    clips, stills = make(config, 1)
    assert clips.shape == (2, 3, 4, 32, 32)
    assert stills.shape == (2, 3, 32, 32)
    assert clips.dtype == stills.dtype == torch.float32
    again, other = make(config, 1), make(config, 2)
    torch.testing.assert_close(clips, again.clips)
    torch.testing.assert_close(stills, again.stills)
    assert not torch.allclose(clips, other.clips)


def test_a_batch_holds_what_its_videos_hold() -> None:
    cut = CropVCLViews(CONFIG)
    batch = VCLCrops.collate([cut(window(), np.random.default_rng(seed)) for seed in (1, 2, 3)])
    assert len(batch) == 3
    clips, stills = render_vcl_views(batch, CONFIG)
    assert clips.shape == (3, 2, 3, 4, 32, 32)
    for place, seed in enumerate((1, 2, 3)):
        torch.testing.assert_close(clips[place], make(CONFIG, seed).clips)
        torch.testing.assert_close(stills[place], make(CONFIG, seed).stills)


def test_all_frames_of_a_clip_share_one_draw_and_the_stills_have_their_own() -> None:
    frames = np.broadcast_to(window()[:1], (8, 40, 48, 3)).copy()
    clips, stills = make(CONFIG, 3, frames)
    torch.testing.assert_close(clips, clips[:, :, :1].expand_as(clips))
    views = [clips[0, :, 0], clips[1, :, 0], stills[0], stills[1]]
    assert not any(torch.allclose(views[i], views[j], atol=0.05) for i in range(4) for j in range(i))


def test_stills_come_from_the_same_place_in_either_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcl_views, "draw_appearance", lambda *_: Appearance())
    frames = np.broadcast_to((10 * np.arange(8)).astype(np.uint8)[:, None, None, None], (8, 40, 48, 3)).copy()
    config, places = VCLConfig(**{**vars(CONFIG), "colour": "endofm"}), set()
    for seed in range(20):
        clips, stills = make(config, seed, frames)
        first, second = ((stills.mean((-2, -1))[:, 0] * STD[0] + MEAN[0]) * 25.5).round().int().tolist()
        assert second == first + 4
        places.add(first)
        shown = ((clips.mean((-2, -1))[:, 0] * STD[0] + MEAN[0]) * 25.5).round().int().tolist()
        assert shown == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert places == {0, 1, 2, 3}


def test_a_window_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="2 x 4 frames, got 6"):
        make(CONFIG, 0, window()[:6])


def test_faithful_colours_are_stronger_than_those_of_endofm() -> None:
    faithful, weak = view_config(CONFIG), view_config(VCLConfig(colour="endofm"))
    assert (faithful.jitter_probability, faithful.grey_probability, faithful.saturation) == (1.0, 0.5, 0.5)
    assert (weak.jitter_probability, weak.grey_probability, weak.saturation) == (0.8, 0.2, 0.2)

    def grey_share(colour: str) -> float:
        config = VCLConfig(**{**vars(CONFIG), "colour": colour})
        scale, centre = torch.tensor(STD).view(3, 1, 1), torch.tensor(MEAN).view(3, 1, 1)
        stills = [still * scale + centre for seed in range(60) for still in make(config, seed).stills]
        return sum(bool((still.amax(0) - still.amin(0)).max() < 1e-3) for still in stills) / len(stills)

    assert 0.38 < grey_share("vcl") < 0.62
    assert 0.1 < grey_share("endofm") < 0.3
