"""Files of the Endo-FM family and of plain image transformers, which ``EncoderConfig`` describes.

Sources: the repositories med-air/EndoFM-LV (fbaf180), MLMIP/MMCRL (15ca11c) and NilleSnille/STOMP (2334f50), and timm's
names of a vision transformer, which DINO, iBOT and MAE share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from endofm.config import EncoderConfig
from endofm.config.family_preprocess import space_time_clip, whole_frame
from endofm.hub.encoder_layout import EncoderLayout
from endofm.hub.encoder_tensors import infer_encoder_config

if TYPE_CHECKING:
    from torch import Tensor

_DIVIDED = {"pos_embed": 3, "time_embed": 3, "blocks.0.temporal_attn.qkv.weight": 2}
_SPACE_ONLY = {"patch_embed.proj.weight": 4, "pos_embed": 3, "cls_token": 3, "blocks.0.attn.qkv.weight": 2}

# LayerScale, registers and the norm before the blocks belong to networks that compute something else.
_NOT_PLAIN = ("time_embed", "blocks.0.ls1.gamma", "reg_token", "register_tokens", "norm_pre.weight")

M2CRL_LEFT_OUT = ("masked_embed", "decoder.0.weight", "decoder.0.bias")
"""Tensors that M2CRL's masked pre-training adds to the encoder; without a mask they play no part."""

_MAE_DECODER = (
    "mask_token",
    "decoder_pos_embed",
    "decoder_embed.",
    "decoder_blocks.",
    "decoder_norm.",
    "decoder_pred.",
)
"""Second network of a masked autoencoder, which reconstructs pixels."""


def _stomp_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in (("cls_tokens", "cls_token"), ("pos_embeds", "pos_embed"), ("time_embeds", "time_embed")):
            name = new if name == old else name
        renamed[name.replace(".space_attn.", ".attn.") if name.startswith("blocks.") else name] = tensor
    return renamed


def _infer_stomp(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> EncoderConfig:
    return replace(infer_encoder_config(tensors, num_heads=num_heads, source=source), table_resize="bilinear")


def _infer_divided(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> EncoderConfig:
    return infer_encoder_config(tensors, num_heads=num_heads, source=source)


def _infer_image(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> EncoderConfig:
    return infer_encoder_config(tensors, num_heads=num_heads, source=source, divided=False)


LAYOUTS = (
    EncoderLayout(
        title="STOMP's video transformer",
        marks={"pos_embeds": 3, "time_embeds": 3, "cls_tokens": 3, "blocks.0.space_attn.qkv.weight": 2},
        infer=_infer_stomp,
        left_out=("masked_embed",),
        rename=_stomp_names,
        preprocess=space_time_clip,
    ),
    EncoderLayout(
        title="M2CRL's video transformer, without the three tensors of its masked pre-training",
        marks={**_DIVIDED, "masked_embed": 2, "decoder.0.weight": 4, "decoder.0.bias": 1},
        infer=_infer_divided,
        left_out=M2CRL_LEFT_OUT,
        preprocess=space_time_clip,
    ),
    EncoderLayout(
        title="a divided space-time video transformer",
        marks={"time_embed": 3, "pos_embed": 3},
        infer=_infer_divided,
        preprocess=space_time_clip,
    ),
    EncoderLayout(
        title="a masked autoencoder's image transformer, without its decoder",
        marks={**_SPACE_ONLY, "decoder_embed.weight": 2, "decoder_pos_embed": 3, "mask_token": 3},
        without=_NOT_PLAIN,
        infer=_infer_image,
        left_out=_MAE_DECODER,
        preprocess=whole_frame,
    ),
    EncoderLayout(
        title="iBOT's image transformer, without its mask token",
        marks={**_SPACE_ONLY, "masked_embed": 2},
        without=_NOT_PLAIN,
        infer=_infer_image,
        left_out=("masked_embed",),
        preprocess=whole_frame,
    ),
    EncoderLayout(
        title="a plain image transformer",
        marks=_SPACE_ONLY,
        without=_NOT_PLAIN,
        infer=_infer_image,
        preprocess=whole_frame,
    ),
)
