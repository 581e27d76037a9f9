"""Feature pyramid: five levels from a single map of patch tokens."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from endofm.tasks.detection.operators import FeaturePyramidNetwork, LastLevelP6P7

NUM_LEVELS = 5
"""Levels of the pyramid, P3 to P7; each has half the resolution of the one before."""


def level_strides(patch_size: int) -> tuple[int, ...]:
    """Return the stride of each level in pixels: half a patch, one patch, two, four and eight."""
    return tuple(patch_size * 2**i // 2 for i in range(NUM_LEVELS))


class _CoarsestLevels(LastLevelP6P7):  # type: ignore[misc]
    """P6 and P7, which are never computed in bfloat16 under autocast.

    On a CPU the gradient of a bfloat16 convolution is undefined memory for taps that never touch its input, as on maps
    of one cell: some runs became NaN at their first step, others did not (torch 2.14). Float32 costs nothing here.
    """

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        with torch.autocast(p[-1].device.type, enabled=False):
            weight = self.p6.weight.dtype
            levels, added = super().forward([p[-1].to(weight)], [c[-1].to(weight)], [])
        return p + levels[1:], names + added


class SimplePyramid(nn.Module):
    """Three resolutions of the encoder's last map, joined top-down, and two coarser levels.

    The map of patches is doubled by a transposed convolution, kept, and halved by max-pooling; a feature pyramid
    network (arXiv 1612.03144) joins the three. P6 and P7 are convolved from P5's output (arXiv 1708.02002). Initial
    weights are Kaiming uniform with ``a = 1`` and zero biases; the transposed convolution keeps PyTorch's default.

    Args:
        embed_dim: Width of the encoder's tokens.
        channels: Width of every level.
    """

    def __init__(self, embed_dim: int, channels: int = 256) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(embed_dim, embed_dim, kernel_size=2, stride=2)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        # torchvision builds P6 from P5's input unless both arguments are equal; equal widths select P5's output, as
        # published.
        extra = _CoarsestLevels(channels, channels)
        self.fpn = FeaturePyramidNetwork([embed_dim] * 3, channels, extra_blocks=extra)

    def scales(self, tokens: Tensor) -> list[Tensor]:
        """Return the three maps that enter the feature pyramid network, finest first.

        Args:
            tokens: Patch tokens on their grid, ``(frames, embed_dim, rows, columns)``.
        """
        return [self.up(tokens), tokens, self.pool(tokens)]

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the levels P3 to P7.

        Args:
            tokens: ``(frames, embed_dim, rows, columns)``; at least two rows and two columns.

        Returns:
            Maps ``(frames, channels, h, w)`` with the strides of :func:`level_strides`.
        """
        return self.join(self.scales(tokens))

    def join(self, scales: list[Tensor]) -> list[Tensor]:
        """Run the feature pyramid network on the maps of :meth:`scales`."""
        named = OrderedDict((str(i), scale) for i, scale in enumerate(scales))
        return list(self.fpn(named).values())
