"""Reference of all speeds: the published block restated plainly, in eager float32.

The steps are those of the published code (github.com/med-air/Endo-FM, models/timesformer.py), in its order: patch
tokens with time fastest, one sequence per position for the temporal step and one per frame for the spatial step,
softmax attention written out, the class token removed and put back by concatenation. Nothing is folded, fused or
skipped. ``transformers``' ``TimesformerModel`` computes the same numbers the same way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.layers.block import Attention, DividedSpaceTimeBlock, resize_position_embedding, resize_time_embedding
from endofm.models.encoder import VideoTransformer


class Reference(nn.Module):
    """The published computation over the parameters of an encoder, which it shares.

    Args:
        encoder: Owner of the parameters.
    """

    def __init__(self, encoder: VideoTransformer) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clip: Tensor) -> Tensor:
        """Embed clips ``(batch, channels, time, height, width)``; returns the class token ``(batch, embed_dim)``."""
        encoder = self.encoder
        batch, _, time, height, width = clip.shape
        grid = height // encoder.patch_size, width // encoder.patch_size
        frames = clip.transpose(1, 2).flatten(0, 1)  # (B T) C H W
        x = encoder.patch_embed.proj(frames).flatten(2).transpose(1, 2)  # (B T) N D
        x = torch.cat((encoder.cls_token.expand(len(x), -1, -1), x), dim=1)
        x = x + resize_position_embedding(encoder.pos_embed, grid)
        cls_token = x[:batch, :1]
        patches = x[:, 1:].reshape(batch, time, -1, x.shape[-1]).transpose(1, 2)  # B N T D
        patches = patches + resize_time_embedding(encoder.time_embed, time)
        x = torch.cat((cls_token, patches.flatten(1, 2)), dim=1)  # B (1 + N T) D
        for block in encoder.blocks:
            x = run_block(block, x, time)  # type: ignore[arg-type]
        out: Tensor = encoder.norm(x)[:, 0]
        return out


def run_block(block: DividedSpaceTimeBlock, x: Tensor, time: int) -> Tensor:
    """Run one block on tokens ``(batch, 1 + patches * time, embed_dim)``, time fastest."""
    batch, _, dim = x.shape
    cls_token, patches = x[:, :1], x[:, 1:]

    by_position = patches.reshape(-1, time, dim)  # (B N) T D
    r = attend(block.temporal_attn, block.temporal_norm1(by_position))
    patches = patches + block.temporal_fc(r.reshape(batch, -1, dim))

    repeated = cls_token.repeat(1, time, 1).reshape(-1, 1, dim)  # (B T) 1 D
    by_frame = patches.view(batch, -1, time, dim).transpose(1, 2).reshape(batch * time, -1, dim)  # (B T) N D
    r = attend(block.attn, block.norm1(torch.cat((repeated, by_frame), dim=1)))
    r = r.view(batch, time, -1, dim)
    mean = r[:, :, 0].mean(dim=1, keepdim=True)
    r = r[:, :, 1:].transpose(1, 2).reshape(batch, -1, dim)  # B (N T) D
    x = torch.cat((cls_token, patches), dim=1) + torch.cat((mean, r), dim=1)

    out: Tensor = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
    return out


def attend(attention: Attention, x: Tensor) -> Tensor:
    """Attend within sequences ``(sequences, tokens, embed_dim)`` and project the joined heads."""
    sequences, tokens, dim = x.shape
    qkv = attention.qkv(x).reshape(sequences, tokens, 3, attention.num_heads, attention.head_dim)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) * attention.head_dim**-0.5).softmax(dim=-1)
    out: Tensor = attention.proj((weights @ v).transpose(1, 2).reshape(sequences, tokens, dim))
    return out
