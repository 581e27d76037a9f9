"""The encoder as it is written to a file: clips in, embeddings out, nothing folded left to fold."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from endofm.kernels.backend import is_plain_linear
from endofm.layers.block import DividedSpaceTimeBlock
from endofm.models.encoder import VideoTransformer


class ExportedNetwork(nn.Module):
    """A float32 copy of an encoder on the CPU, for export.

    ``temporal_attn.proj`` and ``temporal_fc`` are one linear map in it (exact up to rounding): what runs the file is
    not expected to find that.

    Args:
        encoder: What to copy.
        patch_tokens: Return the patch tokens as well.
    """

    def __init__(self, encoder: VideoTransformer, *, patch_tokens: bool) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).float().cpu().eval().requires_grad_(False)
        self.encoder.precision = "exact"
        self.patch_tokens = patch_tokens
        for block in self.encoder.blocks:
            _fold(cast(DividedSpaceTimeBlock, block))

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        """Map clips to embeddings ``(batch, embed_dim)`` and, if they are wanted, patch tokens."""
        if not self.patch_tokens:
            return (self.encoder(clip),)
        output = self.encoder.forward_features(clip)
        assert output.patch_tokens is not None
        return output.cls_token, output.patch_tokens

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["embedding", "patch_tokens"] if self.patch_tokens else ["embedding"]

    def example(self, batch: int, *, seed: int = 0) -> Tensor:
        """Return clips of the configured size that are always the same."""
        config = self.encoder.encoder_config
        generator = torch.Generator().manual_seed(seed)
        shape = batch, config.in_chans, config.num_frames, config.img_size, config.img_size
        return torch.randn(shape, generator=generator)


def _fold(block: DividedSpaceTimeBlock) -> None:
    """Make one linear map of the two that follow each other in the temporal step, in float64 up to the rounding."""
    proj, fc = block.temporal_attn.proj, block.temporal_fc
    if not (is_plain_linear(proj) and is_plain_linear(fc)):
        return
    outer = fc.weight.double()
    proj.weight = nn.Parameter((outer @ proj.weight.double()).float(), requires_grad=False)
    proj.bias = nn.Parameter((outer @ proj.bias.double() + fc.bias.double()).float(), requires_grad=False)
    block.temporal_fc = nn.Identity()  # type: ignore[assignment]
