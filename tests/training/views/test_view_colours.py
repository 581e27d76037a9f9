"""Colour changes as one linear map: against the changes one after the other, and the published numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from endofm.training.views.view_colours import LUMA, apply_colour, colour_coefficients
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_draws import (
    Appearance,
    draw_appearance,
)
from helpers.golden_fill import uint8_clip
from helpers.paths import GOLDEN

CLIPS = [uint8_clip("a", (12, 40, 56, 3)), uint8_clip("b", (9, 48, 32, 3))]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def step_by_step(clip: torch.Tensor, appearance: Appearance, config: ViewConfig) -> torch.Tensor:
    """The changes one after the other in float64; ``clip`` is ``(time, 3, height, width)`` in [0, 1]."""
    weights = torch.tensor(LUMA[config.grey_weights], dtype=torch.float64).view(1, 3, 1, 1)

    def grey(x: torch.Tensor) -> torch.Tensor:
        return (weights * x).sum(1, keepdim=True)

    x = clip.double()
    for change, alpha in appearance.changes:
        other = {
            "brightness": torch.zeros_like(x),
            "contrast": grey(x).mean((-2, -1), keepdim=True),
            "saturation": grey(x),
        }[change]
        x = alpha * x + (1 - alpha) * other
    if appearance.grey:
        x = grey(x).expand_as(x)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (config.mean, config.std))
    return (x - mean) / std


@pytest.mark.parametrize("weights", ["rgb", "bgr"])
def test_the_linear_map_equals_the_changes_one_after_the_other(weights: str) -> None:
    config = ViewConfig(grey_weights=weights, grey_probability=0.5)  # type: ignore[arg-type]
    clip = torch.from_numpy(CLIPS[0]).permute(0, 3, 1, 2).float()
    drawn = [draw_appearance(config, generator(seed)) for seed in range(24)]
    assert {a.grey for a in drawn} == {True, False}
    assert len({tuple(change for change, _ in a.changes) for a in drawn}) == 7  # every order, and no change at all
    out = apply_colour(clip.expand(24, -1, -1, -1, -1), [colour_coefficients(a) for a in drawn], config)
    for view, appearance in zip(out, drawn, strict=True):
        torch.testing.assert_close(
            view.transpose(0, 1).double(), step_by_step(clip / 255, appearance, config), rtol=0, atol=2e-6
        )


PIXELS = np.load(GOLDEN / "preprocess.npz")


PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


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
