"""Reading the architecture off the tensors, for files that come without a configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from endofm.config import EncoderConfig
from endofm.errors import CheckpointFormatError, ConfigError

HEAD_WIDTH = 64
"""Width of an attention head in the published model and in every preset."""

_BLOCK = re.compile(r"blocks\.(\d{1,4})\.")


def infer_encoder_config(
    shapes: Mapping[str, tuple[int, ...]], *, num_heads: int | None = None, where: str = "checkpoint"
) -> EncoderConfig:
    """Return the architecture that tensors of these shapes belong to.

    Everything but the number of heads follows from the shapes: the attention's projections are as large with 1 head
    as with 12.

    Args:
        shapes: Shape of every tensor by its name in the encoder.
        num_heads: Attention heads per block; by default heads of width 64.
        where: Name of the file, for messages.

    Raises:
        CheckpointFormatError: If the tensors that tell the architecture are missing or contradict one another.
        ConfigError: If ``num_heads`` is not given and the width is not a multiple of 64.
    """

    def shape(name: str, rank: int) -> tuple[int, ...]:
        if name not in shapes:
            raise CheckpointFormatError(
                f"{where}: there is no tensor {name!r}, so this is not a divided space-time encoder; {_listing(shapes)}"
            )
        if len(shapes[name]) != rank or 0 in shapes[name]:
            raise CheckpointFormatError(f"{where}: tensor {name!r} has the shape {shapes[name]}, which is not usable")
        return shapes[name]

    width, in_chans, patch_height, patch_width = shape("patch_embed.proj.weight", 4)
    if patch_height != patch_width:
        raise CheckpointFormatError(f"{where}: patches of {patch_height} x {patch_width} pixels are not square")
    positions = shape("pos_embed", 3)[1] - 1
    grid = math.isqrt(positions)
    if grid < 1 or grid * grid != positions:
        raise CheckpointFormatError(
            f"{where}: the position table has {positions} rows beside the class token's, which is not a square grid"
        )
    num_frames = shape("time_embed", 3)[1]
    hidden = shape("blocks.0.mlp.fc1.weight", 2)[0]
    mlp_ratio = hidden / width
    if int(width * mlp_ratio) != hidden:  # the quotient was rounded down
        mlp_ratio = (hidden + 0.5) / width
    depth = 1 + max(int(match[1]) for name in shapes if (match := _BLOCK.match(name)))
    if num_heads is None:
        if width % HEAD_WIDTH:
            raise ConfigError(
                f"{where}: the number of attention heads cannot be read off the tensors, and the width {width} is not "
                f"a multiple of {HEAD_WIDTH}; say how many there are (num_heads, or --num-heads)"
            )
        num_heads = width // HEAD_WIDTH
    return EncoderConfig(
        img_size=grid * patch_height,
        patch_size=patch_height,
        num_frames=num_frames,
        in_chans=in_chans,
        embed_dim=width,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        qkv_bias="blocks.0.attn.qkv.bias" in shapes,
    )


def _listing(shapes: Mapping[str, object]) -> str:
    names = list(shapes)
    return f"its {len(names)} tensors begin with {', '.join(names[:3])}" if names else "it holds no tensors"
