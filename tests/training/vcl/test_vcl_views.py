"""The two clips and two stills of a window: places, crops and colours."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from endofm.errors import InputError
from endofm.training.objectives.vcl import vcl_views
from endofm.training.objectives.vcl.hue import change_hue, hue_matrix
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_views import CropVCLViews, VCLCrops, VCLViews, render_vcl_views, view_config
from endofm.training.views.view_draws import Appearance

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


def test_a_full_turn_of_hue_is_no_turn_and_grey_stays_grey() -> None:
    views = torch.randn(2, 3, 2, 4, 4)
    torch.testing.assert_close(change_hue(views, (0, 1), MEAN, STD), views, atol=1e-4, rtol=1e-4)
    there_and_back = change_hue(change_hue(views, (0.2, -0.1), MEAN, STD), (-0.2, 0.1), MEAN, STD)
    torch.testing.assert_close(there_and_back, views, atol=1e-4, rtol=1e-4)
    grey = torch.full((3,), 0.7, dtype=torch.float64)
    torch.testing.assert_close(hue_matrix(0.17) @ grey, grey, atol=1e-3, rtol=0)
    colour = torch.rand(3, dtype=torch.float64)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    torch.testing.assert_close(weights @ hue_matrix(0.3) @ colour, weights @ colour)


def test_hue_turns_as_a_colour_wheel_does() -> None:
    red = torch.tensor([0.6, 0.4, 0.4], dtype=torch.float64)
    for turn in (-0.25, -1 / 8, 1 / 8, 0.25, 1 / 3):
        hue = colorsys.rgb_to_hsv(*(hue_matrix(turn) @ red).tolist())[0]
        # Chroma is turned in YIQ, whose circle is not that of HSV: same direction, about the same angle.
        assert min(abs(hue - turn % 1), 1 - abs(hue - turn % 1)) < 0.08
