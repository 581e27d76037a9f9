"""The convolutional stem of the hybrid segmentation network.

A ResNet-50-like network cut after its third stage, with weight standardisation and group norm (the "R50" of TransUNet,
arXiv 2102.04306, after Big Transfer, arXiv 1912.11370), as github.com/med-air/Endo-FM at 206427e computes it. The
standardised convolution is timm's ``StdConv2d`` (with this network's epsilon); timm's ``ResNetV2`` is not used: its
pooling is padded and its shortcut norm has other groups and another epsilon, which changes the masks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
"""Groups of every group norm but those of shortcuts; divides the stem's width."""

_WEIGHT_EPS = 1e-5
_NORM_EPS = 1e-6
_SHORTCUT_NORM_EPS = 1e-5


class StemMaps(NamedTuple):
    """Output of the stem.

    Attributes:
        top: Map that becomes tokens, ``(frames, 16 * width, height / 16, width / 16)``.
        skips: The finer maps that the decoder adds, coarsest first: ``8 * width`` channels at 1/8 of the image's
            sides, ``4 * width`` at 1/4 and ``width`` at 1/2.
    """

    top: Tensor
    skips: tuple[Tensor, Tensor, Tensor]


def _conv(in_chans: int, out_chans: int, kernel: int, stride: int = 1) -> nn.Module:
    """Return a convolution without bias whose filters are standardised at every pass (biased variance)."""
    from timm.layers.std_conv import StdConv2d  # imported here: encoders do not need timm, which takes a second

    conv: nn.Module = StdConv2d(in_chans, out_chans, kernel, stride=stride, padding=kernel // 2, eps=_WEIGHT_EPS)
    return conv


class Root(nn.Module):
    """First convolution, norm and ReLU: frames to ``width`` channels at half the sides."""

    def __init__(self, in_chans: int, width: int) -> None:
        super().__init__()
        self.conv = _conv(in_chans, width, 7, stride=2)
        self.gn = nn.GroupNorm(GROUPS, width, eps=_NORM_EPS)

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``(frames, channels, height, width)`` to ``(frames, width, height / 2, width / 2)``."""
        return F.relu(self.gn(self.conv(frames)))


class Unit(nn.Module):
    """Bottleneck with norms after its convolutions, and a ReLU after the shortcut was added.

    Args:
        in_chans: Input channels.
        out_chans: Output channels; the bottleneck has a quarter of them.
        stride: Stride of the 3 x 3 convolution and of the shortcut.
        project: Whether the shortcut is a convolution with a norm of one group per channel.
    """

    def __init__(self, in_chans: int, out_chans: int, *, stride: int, project: bool) -> None:
        super().__init__()
        middle = out_chans // 4
        self.conv1 = _conv(in_chans, middle, 1)
        self.gn1 = nn.GroupNorm(GROUPS, middle, eps=_NORM_EPS)
        self.conv2 = _conv(middle, middle, 3, stride=stride)
        self.gn2 = nn.GroupNorm(GROUPS, middle, eps=_NORM_EPS)
        self.conv3 = _conv(middle, out_chans, 1)
        self.gn3 = nn.GroupNorm(GROUPS, out_chans, eps=_NORM_EPS)
        self.project = project
        if project:
            self.downsample = _conv(in_chans, out_chans, 1, stride=stride)
            self.gn_proj = nn.GroupNorm(out_chans, out_chans, eps=_SHORTCUT_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(frames, in_chans, h, w)`` to ``(frames, out_chans, h / stride, w / stride)``, rounded up."""
        shortcut = self.gn_proj(self.downsample(x)) if self.project else x
        y = F.relu(self.gn1(self.conv1(x)))
        y = F.relu(self.gn2(self.conv2(y)))
        return F.relu(self.gn3(self.conv3(y)) + shortcut)


class HybridStem(nn.Module):
    """Frames to a map of 1/16 of the sides and three finer maps; each frame independently.

    Args:
        in_chans: Channels of a frame.
        width: Channels of the finest map, a multiple of 32; 64 as published.
        units: Bottlenecks in each of the three stages.

    Attributes:
        out_chans: Channels of the coarsest map.
        skip_chans: Channels of the finer maps, coarsest first.
    """

    def __init__(self, in_chans: int = 3, *, width: int = 64, units: tuple[int, int, int] = (3, 4, 9)) -> None:
        super().__init__()
        self.out_chans = 16 * width
        self.skip_chans = (8 * width, 4 * width, width)
        self.root = Root(in_chans, width)
        self.block1 = self._stage(width, 4 * width, units[0], stride=1)
        self.block2 = self._stage(4 * width, 8 * width, units[1], stride=2)
        self.block3 = self._stage(8 * width, 16 * width, units[2], stride=2)

    @staticmethod
    def _stage(in_chans: int, out_chans: int, units: int, *, stride: int) -> nn.Sequential:
        stage = nn.Sequential()
        stage.add_module("unit1", Unit(in_chans, out_chans, stride=stride, project=True))
        for number in range(2, units + 1):
            stage.add_module(f"unit{number}", Unit(out_chans, out_chans, stride=1, project=False))
        return stage

    def forward(self, frames: Tensor) -> StemMaps:
        """Run the stem.

        Args:
            frames: ``(frames, channels, height, width)``; height and width are multiples of 16 and at least 32.
        """
        half = self.root(frames)
        # Pooling without padding loses a row and a column; the second skip restores them as zeros. Both as published:
        # padding the pooling instead moves the published logits by 0.2.
        quarter = self.block1(F.max_pool2d(half, 3, stride=2))
        eighth = self.block2(quarter)
        padded = F.pad(
            quarter, (0, half.shape[-1] // 2 - quarter.shape[-1], 0, half.shape[-2] // 2 - quarter.shape[-2])
        )
        return StemMaps(self.block3(eighth), (eighth, padded, half))
