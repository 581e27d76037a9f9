"""The V-JEPA 2 encoder: joint attention over tubelets with rotated positions.

One network for Meta's V-JEPA 2 (arXiv 2506.09985) and for the encoders of surgery that continue from it: SurgMotion
(code: CAIR-HKISI/SurgMotion at 9f1de59) and SurgRec-JEPA. There is no class token and no table of positions, so that a
clip may have any size and length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from endofm.config.family_preprocess import tubelet_clip
from endofm.config.vjepa_config import VJepaConfig
from endofm.errors import InputError
from endofm.hub.encoder_layout import EncoderLayout
from endofm.hub.encoder_tensors import infer_mlp_ratio, infer_num_heads
from endofm.layers.block import SpaceBlock
from endofm.models.encoder import ClipEncoder
from endofm.outputs import EncoderOutput

_BASE = 10_000.0
"""Ratio of the slowest and the fastest rotation."""


class Rotation:
    """Rotation of queries and keys by the positions of their tubelets.

    A third of the channels turns with time, a third with the row, a third with the column; the rest stays. Channel c of
    a group turns at the frequency of number ``c mod (group / 2)``, but is paired with its neighbour, not with the
    channel of the same frequency: the tables do not belong to the pairs. All V-JEPA 2 weights were trained that way.

    Args:
        grid: Steps in time, rows and columns of the tokens, which come in this order, columns fastest.
        head_dim: Channels of a head.
        device: Device of the tokens.
    """

    def __init__(self, grid: tuple[int, int, int], head_dim: int, device: torch.device) -> None:
        group = 2 * (head_dim // 3 // 2)
        frequencies = _BASE ** -(torch.arange(group // 2, device=device, dtype=torch.float32) / (group / 2))
        positions = torch.cartesian_prod(*(torch.arange(n, device=device, dtype=torch.float32) for n in grid))
        # N 3 (group / 2), each frequency once in the first and once in the second half of its group.
        angles = positions.view(-1, 3, 1) * frequencies
        angles = torch.cat((angles, angles), dim=2).flatten(1)
        angles = torch.nn.functional.pad(angles, (0, head_dim - 3 * group))  # an angle of 0 leaves a channel as it is
        self.cos, self.sin = angles.cos(), angles.sin()

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate ``(sequences, heads, tokens, head_dim)``, in float32."""
        even, odd = x[..., ::2], x[..., 1::2]
        turned = torch.stack((-odd, even), dim=-1).flatten(-2)
        return (x * self.cos + turned * self.sin).to(x.dtype)


class TubeletEmbed(nn.Module):
    """Tubelets of a clip, projected by one convolution that does not overlap."""

    def __init__(self, config: VJepaConfig) -> None:
        super().__init__()
        size = (config.tubelet_size, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(config.in_chans, config.embed_dim, kernel_size=size, stride=size)

    def forward(self, clip: Tensor) -> Tensor:
        """Map ``(batch, channels, time, height, width)`` to ``(batch, embed_dim, steps, rows, columns)``."""
        out: Tensor = self.proj(clip)
        return out


class VJepaEncoder(ClipEncoder):
    """V-JEPA 2 encoder with the parameter names of the published files.

    The clip embedding is the mean of all tokens after the final norm, because there is no class token. Each step in
    time of the patch tokens stands for ``tubelet_size`` frames. Clips may have any height and width that are multiples
    of the patch size, and any length that is a multiple of the tubelet's.

    Args:
        config: Architecture.
    """

    encoder_config: VJepaConfig

    def __init__(self, config: VJepaConfig) -> None:
        super().__init__(config)
        self.tubelet_size = config.tubelet_size
        self.patch_embed = TubeletEmbed(config)
        # One grid in which the time axis has a single step: attention within a "frame" is attention over the clip.
        self._add_blocks(SpaceBlock)
        self.draw_linear_weights()

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid.

        Raises:
            InputError: If the clip has another form.
        """
        self.require_clip(clip)
        config = self.encoder_config
        if clip.shape[2] % config.tubelet_size:
            raise InputError(
                f"this encoder takes clips whose number of frames is a multiple of {config.tubelet_size}, got "
                f"{clip.shape[2]}"
            )
        patches = self.patch_embed(clip.to(self.patch_embed.proj.weight.dtype))
        steps, rows, columns = patches.shape[2:]
        x = patches.flatten(2).transpose(1, 2).unsqueeze(0)  # 1 B N D
        rotation = Rotation((steps, rows, columns), config.embed_dim // config.num_heads, x.device)
        backend = self.backends.select(self, x)
        for block in self.blocks:
            x = self._run_block(partial(block, rotation=rotation), x, backend)
        tokens = self.norm(x[0])
        return EncoderOutput(tokens.mean(dim=1), tokens.unflatten(1, (steps, rows, columns)))


def _infer(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> VJepaConfig:
    width, channels, tubelet, patch, _ = tensors["patch_embed.proj.weight"].shape
    blocks = [int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d{1,4})\.", name))]
    return VJepaConfig(
        patch_size=patch,
        in_chans=channels,
        embed_dim=width,
        depth=1 + max(blocks),
        num_heads=num_heads or infer_num_heads(width, source),
        mlp_ratio=infer_mlp_ratio(tensors["blocks.0.mlp.fc1.weight"].shape[0], width),
        qkv_bias="blocks.0.attn.qkv.bias" in tensors,
        tubelet_size=tubelet,
    )


def _from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the package ``transformers``, which holds queries, keys and values apart."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        name = name.replace("embeddings.patch_embeddings.", "patch_embed.").replace("layernorm.", "norm.")
        name = re.sub(r"^layer\.", "blocks.", name).replace(".attention.", ".attn.")
        renamed[name] = tensor
    for name in [name for name in renamed if ".attn.query." in name]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        # An incomplete triple is left as it is, for the strict check to report.
        if all(part in renamed for part in parts):
            renamed[name.replace(".query.", ".qkv.")] = torch.cat([renamed.pop(part) for part in parts])
    return renamed


LAYOUTS = (
    EncoderLayout(
        title="a V-JEPA 2 encoder",
        marks={"patch_embed.proj.weight": 5, "blocks.0.attn.qkv.weight": 2, "blocks.0.mlp.fc1.weight": 2},
        without=("pos_embed", "cls_token"),
        infer=_infer,
        preprocess=tubelet_clip,
    ),
    EncoderLayout(
        title="a V-JEPA 2 encoder with the names of transformers",
        marks={
            "embeddings.patch_embeddings.proj.weight": 5,
            "layer.0.attention.query.weight": 2,
            "layer.0.mlp.fc1.weight": 2,
        },
        infer=_infer,
        left_out=("predictor.",),
        rename=_from_transformers,
        preprocess=tubelet_clip,
    ),
)
