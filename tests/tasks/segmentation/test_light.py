"""The light head."""

from __future__ import annotations

import torch

from endofm.tasks.segmentation.light import LightSegmentationHead


def test_light_head_gives_the_frames_size() -> None:
    head = LightSegmentationHead(32, 3, width=32, patch_size=16).eval()
    assert head(torch.randn(2, 4, 3, 5, 32)).shape == (2, 3, 4, 48, 80)


def test_light_head_works_frame_by_frame() -> None:
    head = LightSegmentationHead(32, 2, width=32, patch_size=16).eval()
    tokens = torch.randn(2, 3, 2, 2, 32)
    with torch.no_grad():
        torch.testing.assert_close(head(tokens)[:, :, 1:2], head(tokens[:, 1:2]))
