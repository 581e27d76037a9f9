"""The EndoMamba encoder, which FPRL shares: scans within frames, then one scan of the clip in the order of time.

Sources: TianCuteQY/EndoMamba at debd20a and MLMIP/FPRL at 5ef5855, whose networks are the same. Every layer over time
is causal: a frame's tokens do not depend on later frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from endofm.config.mamba_config import MambaConfig
from endofm.errors import InputError
from endofm.hub.encoder_layout import EncoderLayout
from endofm.hub.encoder_tensors import square_grid
from endofm.layers.block import resize_position_embedding
from endofm.layers.mamba import MambaLayer, RmsNorm, ScanState
from endofm.models.causal_encoder import CausalEncoder
from endofm.outputs import EncoderOutput


class LiveState(NamedTuple):
    """State of the layers over time after some frames; its size does not depend on their number.

    Attributes:
        frames: Number of these frames.
        scans: What each of the layers carries.
    """

    frames: int
    scans: tuple[ScanState, ...]


class FramePatches(nn.Module):
    """Patches of every frame, projected by one convolution that keeps frames apart."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        size = (1, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_chans, config.embed_dim, kernel_size=size, stride=size)

    def forward(self, clip: Tensor) -> Tensor:
        """Map ``(batch, channels, time, height, width)`` to ``(batch, embed_dim, time, rows, columns)``."""
        out: Tensor = self.proj(clip)
        return out


class MambaEncoder(CausalEncoder):
    """EndoMamba encoder with the parameter names of the published files.

    Every frame has its class token; the clip embedding is the mean of these after the final norm. Clips may have any
    length. For another size than the trained one the position table is resized bicubically, which the original does
    not offer.

    Args:
        config: Architecture.
    """

    encoder_config: MambaConfig

    def __init__(self, config: MambaConfig) -> None:
        super().__init__(config)
        self.patch_embed = FramePatches(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid_size**2, config.embed_dim))
        self.layers = nn.ModuleList(
            MambaLayer(config, bidirectional=index < config.spatial_depth) for index in range(config.depth)
        )
        self.norm_f = RmsNorm(config.embed_dim, config.layer_norm_eps)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid.

        Raises:
            InputError: If the clip has another form, or the precision is not exact.
        """
        tokens, _ = self._tokens(clip, None)
        return EncoderOutput(tokens[:, :, 0].mean(dim=1), torch.unflatten(tokens[:, :, 1:], 2, self._grid(clip)))

    def forward_live(self, clip: Tensor, state: LiveState | None = None) -> tuple[Tensor, Tensor, LiveState]:
        """Embed the next frames of a recording; arguments, result and errors are those of the base class."""
        tokens, state = self._tokens(clip, state)
        return tokens[:, :, 0], torch.unflatten(tokens[:, :, 1:], 2, self._grid(clip)), state

    def _grid(self, clip: Tensor) -> tuple[int, int]:
        return clip.shape[3] // self.patch_size, clip.shape[4] // self.patch_size

    def _tokens(self, clip: Tensor, state: LiveState | None) -> tuple[Tensor, LiveState]:
        """Return the normed tokens ``(batch, time, 1 + patches, embed_dim)``, and what to carry to later frames."""
        self.require_clip(clip)
        if self.precision != "exact":
            raise InputError(f"precision {self.precision!r} is not available for EndoMamba; use 'exact'")
        frames, carried = (0, ()) if state is None else state
        patches = self.patch_embed(clip.to(self.pos_embed.dtype)).flatten(3).permute(0, 2, 3, 1)  # B T N D
        batch, time, _, width = patches.shape
        positions = resize_position_embedding(self.pos_embed, self._grid(clip), "bicubic")
        patches = patches + positions[:, 1:] + _sines(frames, time, width, clip.device)
        cls_token = (self.cls_token + positions[:, :1]).expand(batch, time, 1, width)
        x = torch.cat((cls_token, patches), dim=2)  # B T 1+N D
        depth, scans = self.encoder_config.spatial_depth, []
        for index, layer in enumerate(self.layers):
            if index < depth:
                added, _ = layer(x.flatten(0, 1))
            else:
                added, scan = layer(x.flatten(1, 2), carried[index - depth] if carried else None)
                scans.append(scan)
            x = x + added.view_as(x)
        return self.norm_f(x), LiveState(frames + time, tuple(scans))


def _sines(first: int, time: int, width: int, device: torch.device) -> Tensor:
    """Return the positions of frames, ``(time, 1, width)``: sines in even channels, cosines in odd ones."""
    frequencies = 10_000.0 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    numbers = torch.arange(first, first + time, device=device, dtype=torch.float32)
    angles = numbers.unsqueeze(1) * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).unsqueeze(1)


def _infer(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> MambaConfig:
    width, channels, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    layers = {int(match[1]) for name in tensors if (match := re.match(r"layers\.(\d{1,4})\.", name))}
    # Any tensor of the second direction counts, so that a missing one is reported and does not make a layer temporal.
    spatial = {
        int(match[1]) for name in tensors if (match := re.match(r"layers\.(\d{1,4})\.mixer\.\w+_b(_|\.|$)", name))
    }
    return MambaConfig(
        img_size=patch * square_grid(tensors["pos_embed"].shape[1] - 1, source),
        patch_size=patch,
        in_chans=channels,
        embed_dim=width,
        depth=1 + max(layers),
        spatial_depth=1 + max(spatial, default=-1),
        state_size=tensors["layers.0.mixer.A_log"].shape[1],
        conv_size=tensors["layers.0.mixer.conv1d.weight"].shape[2],
        expand=tensors["layers.0.mixer.in_proj.weight"].shape[0] // (2 * width),
    )


LAYOUTS = (
    EncoderLayout(
        title="an EndoMamba encoder",
        marks={
            "patch_embed.proj.weight": 5,
            "pos_embed": 3,
            "layers.0.mixer.A_log": 2,
            "layers.0.mixer.in_proj.weight": 2,
            "layers.0.mixer.conv1d.weight": 3,
        },
        infer=_infer,
    ),
)
