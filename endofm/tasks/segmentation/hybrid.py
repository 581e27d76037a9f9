"""The published segmentation network: convolutional stem, Endo-FM blocks over the frames of a clip, skip decoder.

"R50 + ViT-B/16" of TransUNet (arXiv 2102.04306) with its image transformer replaced by the divided space-time blocks of
Endo-FM (arXiv 2306.16741), as github.com/med-air/Endo-FM at 206427e computes it.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.layers.block import DividedSpaceTimeBlock
from endofm.models.encoder import Transformer
from endofm.tasks.segmentation.decoder import SkipDecoder
from endofm.tasks.segmentation.stem import HybridStem

MIN_SIDE = 32
"""Smallest side of a frame in pixels: below it the stem's last norm has a single value per channel."""


class TokenTransformer(Transformer):
    """The encoder without its patch embedding: class token, blocks and final norm, over tokens from a stem.

    Its parameters have the names of the encoder, so that pre-trained weights fit; the encoder's patch, position and
    time embeddings have no counterpart here. The class token has no position.

    Args:
        config: Architecture; ``img_size``, ``num_frames`` and ``in_chans`` are not used.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dim))
        self._add_blocks(DividedSpaceTimeBlock)
        self.init_weights()
        self._insert_adapters()

    def init_weights(self) -> None:
        """Draw fresh weights by the encoder's rule: truncated normals of deviation 0.02, ``temporal_fc`` zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in self.blocks:
            nn.init.zeros_(block.temporal_fc.weight)  # type: ignore[union-attr,arg-type]
            nn.init.zeros_(block.temporal_fc.bias)  # type: ignore[union-attr,arg-type]
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run the blocks on the tokens of each clip.

        Args:
            tokens: ``(time, batch, patches, embed_dim)``; without a time embedding the order of frames has no effect.

        Returns:
            Normed tokens of the same shape.
        """
        time, batch = tokens.shape[:2]
        cls_token = self.cls_token.to(tokens.dtype).expand(time, batch, 1, -1)
        x = torch.cat((cls_token, tokens), dim=2)  # T B 1+N D
        backend = self.backends.select(self, x)
        for block in self.blocks:
            x = self._run_block(block, x, backend)
        out: Tensor = self.norm(x)[:, :, 1:]
        return out


class HybridSegmentationHead(nn.Module):
    """Stem and decoder of the published segmentation network: everything but the transformer.

    Args:
        embed_dim: Width of the transformer's tokens.
        num_classes: Channels of the output, background included.
        grid_size: Side of the square grid of tokens of the position embedding; 14 for 224 pixels.
        in_chans: Channels of a frame.
        stem_width: Width of the stem, a multiple of 32.
        stem_units: Bottlenecks per stage of the stem.
        decoder_widths: Channels of the decoder.
        dropout: Dropout of the tokens that enter the transformer, in training; 0.1 as published.
    """

    def __init__(
        self,
        embed_dim: int = 768,
        num_classes: int = 2,
        *,
        grid_size: int = 14,
        in_chans: int = 3,
        stem_width: int = 64,
        stem_units: tuple[int, int, int] = (3, 4, 9),
        decoder_widths: tuple[int, int, int, int, int] = (512, 256, 128, 64, 16),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.stem = HybridStem(in_chans, width=stem_width, units=stem_units)
        self.patch_embed = nn.Conv2d(self.stem.out_chans, embed_dim, 1)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid_size**2, embed_dim))
        self.dropout = nn.Dropout(dropout)
        self.decoder = SkipDecoder(embed_dim, self.stem.skip_chans, decoder_widths)
        self.classifier = nn.Conv2d(self.decoder.out_chans, num_classes, 3, padding=1)

    def embed(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Turn frames into tokens on their grid.

        Args:
            frames: ``(frames, channels, height, width)``, sides multiples of 16.

        Returns:
            ``(frames, height / 16, width / 16, embed_dim)`` with positions added, and the stem's finer maps.
        """
        maps = self.stem(frames)
        tokens = self.patch_embed(maps.top).permute(0, 2, 3, 1)  # F h w D
        return self.dropout(tokens + self._positions(tokens.shape[1], tokens.shape[2])), maps.skips

    def decode(self, tokens: Tensor, skips: tuple[Tensor, ...]) -> Tensor:
        """Turn tokens ``(frames, h, w, embed_dim)`` and the stem's maps into logits ``(frames, classes, H, W)``."""
        out: Tensor = self.classifier(self.decoder(tokens.permute(0, 3, 1, 2), skips))
        return out

    def _positions(self, height: int, width: int) -> Tensor:
        """Return the position embedding on another grid, ``(1, height, width, embed_dim)``, resized bilinearly.

        The published code only takes 224 x 224. It resizes the embeddings of image transformers linearly when it reads
        them, hence bilinear here and not the encoder's nearest neighbour.
        """
        side = self.grid_size
        table = self.pos_embed.view(1, side, side, -1)
        if (height, width) == (side, side):
            return table
        resized = F.interpolate(table.permute(0, 3, 1, 2), size=(height, width), mode="bilinear", align_corners=False)
        return resized.permute(0, 2, 3, 1)


def hybrid_logits(
    backbone: TokenTransformer, head: HybridSegmentationHead, clip: Tensor, autocast: torch.autocast | None = None
) -> Tensor:
    """Run the complete published network on a batch of clips.

    In evaluation mode a batch gives the same results as its clips one by one. In training the batch norms of the
    decoder take their statistics over all frames of the batch.

    Args:
        backbone: The transformer.
        head: Stem and decoder.
        clip: ``(batch, channels, time, height, width)``, any number of frames, sides multiples of 16.
        autocast: Context for the convolutions around the transformer, which applies its precision by itself.

    Returns:
        Logits ``(batch, classes, time, height, width)``.
    """
    batch, _, time = clip.shape[:3]
    frames = clip.permute(2, 0, 1, 3, 4).flatten(0, 1)  # (T B) C H W
    around = autocast or nullcontext()
    with around:
        tokens, skips = head.embed(frames)
    # Adding the position embedding has returned the tokens to the type of the parameters.
    x = backbone(tokens.reshape(time, batch, -1, tokens.shape[-1]))  # T B N D
    with around:
        logits = head.decode(x.reshape(tokens.shape), skips).to(clip.dtype)  # (T B) K H W
    return logits.view(time, batch, *logits.shape[1:]).permute(1, 2, 0, 3, 4)
