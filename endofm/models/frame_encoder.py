"""An image transformer run on every frame of a clip: the baseline that knows no time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.kernels.precision import ArithmeticChoice, Precision
from endofm.layers.embedding import PatchEmbed, resize_position_table
from endofm.layers.space_block import SpaceBlock
from endofm.layers.st_adapter import insert_st_adapters
from endofm.models.encoder import VideoTransformer, require_clip, run_block
from endofm.outputs import EncoderOutput


class FrameTransformer(nn.Module):
    """Vision transformer over the frames of a clip, with the parameter names of the video encoder and of timm.

    The clip's embedding is the mean over frames of their class tokens after the last block, then the final norm, as
    ST-Adapter reads it out (arXiv 2206.13559). Only adapters in the blocks let frames exchange information.

    Args:
        config: Architecture with ``attention_type="space_only"``; ``num_frames`` plays no part.

    Attributes:
        embed_dim: Width of the tokens and of the clip embedding.
        patch_size: Side of a patch in pixels.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder_config = config
        self.embed_dim = config.embed_dim
        self.patch_size = config.patch_size
        self.num_frames = config.num_frames
        self.grad_checkpointing = False
        self._arithmetic = ArithmeticChoice()
        self.patch_embed = PatchEmbed(config.patch_size, config.in_chans, config.embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.grid_size**2, config.embed_dim))
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(SpaceBlock(config, config.drop_path_rate * i / last) for i in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        insert_st_adapters(self.blocks, config.embed_dim, config.st_adapter)

    def forward(self, clip: Tensor) -> Tensor:
        """Embed clips; arguments, result and errors are those of :meth:`VideoTransformer.forward`."""
        x, _ = self._tokens(clip)
        out: Tensor = self.norm(x[:, :, 0].mean(dim=0))
        return out

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid; arguments and errors as :meth:`forward`."""
        x, grid = self._tokens(clip)
        patches = self.norm(x[:, :, 1:]).unflatten(2, grid).movedim(0, 1)  # B T h w D
        return EncoderOutput(self.norm(x[:, :, 0].mean(dim=0)), patches)

    @property
    def precision(self) -> Precision:
        """How exactly the encoder computes in inference; see :mod:`endofm.kernels.precision`."""
        return self._arithmetic.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self._arithmetic.precision = precision

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def _tokens(self, clip: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the tokens after the last block, ``(time, batch, 1 + patches, embed_dim)``, and the grid."""
        require_clip(clip, in_chans=self.encoder_config.in_chans, patch_size=self.patch_size)
        batch, _, time, height, width = clip.shape
        grid = (height // self.patch_size, width // self.patch_size)
        frames = clip.to(self.pos_embed.dtype).permute(2, 0, 1, 3, 4).flatten(0, 1)  # (T B) C H W
        patches = self.patch_embed(frames).unflatten(0, (time, batch))  # T B N D
        cls_token = self.cls_token.expand(time, batch, 1, -1)
        x = torch.cat((cls_token, patches), dim=2) + resize_position_table(self.pos_embed, grid)
        arithmetic = self._arithmetic.choose(self, x)
        for block in self.blocks:
            x = run_block(block, x, arithmetic, recompute=self.grad_checkpointing)
        return x, grid


def build_encoder(config: EncoderConfig) -> VideoTransformer | FrameTransformer:
    """Return a fresh encoder of the configuration's kind of attention."""
    return FrameTransformer(config) if config.attention_type == "space_only" else VideoTransformer(config)
