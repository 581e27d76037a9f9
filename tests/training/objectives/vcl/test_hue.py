"""Hue jitter: a rotation of chroma."""

from __future__ import annotations

import colorsys

import torch

from endofm.training.objectives.vcl.hue import change_hue, hue_matrix

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
