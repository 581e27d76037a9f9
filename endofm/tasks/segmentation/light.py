"""A light segmentation head on the patch tokens of the plain encoder, whose single pass can serve several tasks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 8


class LightSegmentationHead(nn.Module):
    """Patch tokens to masks, without another path from the pixels.

    A 1 x 1 convolution narrows the tokens; two learned doublings (transposed convolution, group norm, GELU, 3 x 3
    convolution) bring 1/16 to 1/4 of the frame's sides; the logits there are enlarged bilinearly. That is the "simple
    feature pyramid" idea of plain-transformer detection (ViTDet, arXiv 2203.16527, section 3), cut to one scale. Norms
    are over groups, not batches, because a batch is often a single clip.

    Args:
        embed_dim: Width of the patch tokens.
        num_classes: Channels of the output, background included.
        width: Channels inside the head, a multiple of 32.
        patch_size: Side of a patch in pixels.
        dropout: Dropout before the classifier, in training.
    """

    def __init__(
        self,
        embed_dim: int = 768,
        num_classes: int = 2,
        *,
        width: int = 256,
        patch_size: int = 16,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.project = nn.Sequential(nn.Conv2d(embed_dim, width, 1), nn.GroupNorm(_GROUPS, width), nn.GELU())
        self.double1 = self._doubling(width, width // 2)
        self.double2 = self._doubling(width // 2, width // 4)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width // 4, num_classes, 1)

    @staticmethod
    def _doubling(in_chans: int, out_chans: int) -> nn.Sequential:
        return nn.Sequential(
            nn.ConvTranspose2d(in_chans, out_chans, 2, stride=2),
            nn.GroupNorm(_GROUPS, out_chans),
            nn.GELU(),
            nn.Conv2d(out_chans, out_chans, 3, padding=1),
            nn.GroupNorm(_GROUPS, out_chans),
            nn.GELU(),
        )

    def forward(self, patch_tokens: Tensor) -> Tensor:
        """Return logits of masks.

        Args:
            patch_tokens: ``(batch, time, h, w, embed_dim)``, as the encoder's ``forward_features`` returns them.

        Returns:
            ``(batch, classes, time, h * patch_size, w * patch_size)``.
        """
        batch, time, height, width, _ = patch_tokens.shape
        x = patch_tokens.flatten(0, 1).permute(0, 3, 1, 2)  # (B T) D h w
        x = self.double2(self.double1(self.project(x)))
        x = self.classifier(self.dropout(x))
        size = (height * self.patch_size, width * self.patch_size)
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return x.view(batch, time, *x.shape[1:]).transpose(1, 2)
