"""The baseline without time: an image transformer run on every frame of a clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.layers.block import SpaceBlock, resize_position_embedding
from endofm.models.encoder import PatchTransformer
from endofm.outputs import EncoderOutput


class FrameTransformer(PatchTransformer):
    """Vision transformer over the frames of a clip, with the parameter names of the video encoder and of timm.

    The clip's embedding is the final norm of the mean over frames of their class tokens, as in ST-Adapter (arXiv
    2206.13559), or the mean of the normed class tokens, as the configuration's ``pooling`` says. Frames exchange
    information only through adapters in the blocks.

    Args:
        config: Architecture with ``attention_type="space_only"``; ``num_frames`` does not affect the network.

    Attributes:
        embed_dim: Width of the tokens and of the clip embedding.
        patch_size: Side of a patch in pixels.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self._add_blocks(SpaceBlock)
        # The convolution keeps PyTorch's initialisation, as in timm's vision transformer.
        self.draw_linear_weights()
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self._insert_adapters()

    def forward(self, clip: Tensor) -> Tensor:
        """Embed clips; arguments, result and errors are those of :meth:`VideoTransformer.forward`."""
        x, _ = self._tokens(clip)
        return self._pooled(x)

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid; arguments and errors as :meth:`forward`."""
        x, grid = self._tokens(clip)
        patches = self.norm(x[:, :, 1:]).unflatten(2, grid).movedim(0, 1)  # B T h w D
        return EncoderOutput(self._pooled(x), patches)

    def _pooled(self, x: Tensor) -> Tensor:
        """Return the clip embedding of tokens ``(time, batch, 1 + patches, embed_dim)``."""
        if self.encoder_config.pooling == "mean_of_norms":
            return torch.mean(self.norm(x[:, :, 0]), dim=0)
        out: Tensor = self.norm(x[:, :, 0].mean(dim=0))
        return out

    def _tokens(self, clip: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the tokens after the last block, ``(time, batch, 1 + patches, embed_dim)``, and the grid."""
        patches, grid = self._embed_patches(clip)
        cls_token = self.cls_token.expand(*patches.shape[:2], 1, -1)
        x = torch.cat((cls_token, patches), dim=2) + resize_position_embedding(
            self.pos_embed, grid, self.encoder_config.table_resize
        )
        backend = self.backends.select(self, x)
        for block in self.blocks:
            x = self._run_block(block, x, backend)
        return x, grid
