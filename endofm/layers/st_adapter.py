"""ST-Adapter: a bottleneck through which the patches of a clip exchange information over time and space."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from endofm.config import STAdapterConfig
from endofm.errors import InputError


class STAdapter(nn.Module):
    """Down-projection, depthwise convolution over the clip, up-projection, added to the patch tokens.

    Pan and others, *ST-Adapter: Parameter-Efficient Image-to-Video Transfer Learning* (arXiv 2206.13559), as
    github.com/linziyi96/st-adapter at b914b38 computes it. The class token is left unchanged. The convolution starts at
    zero, so a fresh adapter is the identity.

    Args:
        embed_dim: Width of the tokens.
        config: Width, kernel and activation; the placement is up to :func:`insert_st_adapters`.
    """

    def __init__(self, embed_dim: int, config: STAdapterConfig) -> None:
        super().__init__()
        self.spatial = config.kernel[1:] != (1, 1)
        self.down = nn.Linear(embed_dim, config.width)
        self.conv = nn.Conv3d(
            config.width,
            config.width,
            config.kernel,
            padding=(config.kernel[0] // 2, config.kernel[1] // 2, config.kernel[2] // 2),
            groups=config.width,
        )
        self.activation = config.activation
        self.up = nn.Linear(config.width, embed_dim)
        for tensor in (self.conv.weight, self.conv.bias, self.down.bias, self.up.bias):
            assert tensor is not None
            nn.init.zeros_(tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Add the bottleneck's output to the patch tokens.

        Args:
            x: ``(time, batch, 1 + patches, embed_dim)``; row 0 of every frame is the class token, patches follow row by
                row.

        Returns:
            The same shape.

        Raises:
            InputError: If the kernel reaches over space and the patches are not a square.
        """
        patches = x[:, :, 1:]
        time, batch, count, _ = patches.shape
        rows, columns = self._grid(count)
        inner = self.down(patches).view(time, batch, rows, columns, -1).permute(1, 4, 0, 2, 3)  # B Ca T h w
        inner = self._activate(self.conv(inner)).permute(2, 0, 3, 4, 1).reshape(time, batch, count, -1)
        return torch.cat((x[:, :, :1], patches + self.up(inner)), dim=2)

    def _grid(self, count: int) -> tuple[int, int]:
        # A kernel over time alone never mixes patches, so any number of them may stand in one column.
        if not self.spatial:
            return count, 1
        side = math.isqrt(count)
        if side * side != count:
            raise InputError(f"an adapter with a kernel over space needs a square grid of patches, got {count} patches")
        return side, side

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation == "gelu":
            return nn.functional.gelu(x)
        # The sigmoid approximation that CLIP's image transformers use (arXiv 1606.08415, section 2).
        return x * torch.sigmoid(1.702 * x) if self.activation == "quick_gelu" else x


def insert_st_adapters(blocks: nn.ModuleList, embed_dim: int, config: STAdapterConfig | None) -> None:
    """Put fresh adapters into the slots ``before_attention`` and ``before_mlp`` of blocks.

    Args:
        blocks: Blocks of an encoder, in order.
        embed_dim: Width of the tokens.
        config: Size and placement of the adapters; None inserts none.
    """
    if config is None:
        return
    for index, slot in config.slots(len(blocks)):
        setattr(blocks[index], slot, STAdapter(embed_dim, config))
