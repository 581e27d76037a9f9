"""Encoders in the terms of the package ``transformers``: the network there that computes the same, and its tensors.

Tensors are renamed, and fused projections of queries, keys and values are split; the names are those of the files that
``transformers`` publishes, which all its releases read. What a network there has and an encoder does not (a pooler, a
predictor) is made so that it passes the encoder's output on or does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from endofm.config import BaseEncoderConfig, EncoderConfig
from endofm.config.timm_config import TimmConfig
from endofm.config.vjepa_config import VJepaConfig
from endofm.errors import InputError
from endofm.models.timm_encoder import TimmEncoder
from endofm.tasks.features.model import VideoEncoder

_NO_PREDICTOR = 16
"""Width of the predictor that V-JEPA 2's network has in ``transformers``; its tensors are zeros here."""


@dataclass(frozen=True)
class Translation:
    """An encoder in the terms of ``transformers``.

    Attributes:
        architecture: Class of the network.
        config: Its configuration.
        tensors: Its tensors, by the names of published files.
        processor: Class of the processor of images or video.
        per_frame: The network takes single frames and not clips.
        call: Further arguments of the network.
    """

    architecture: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    processor: str
    per_frame: bool = False
    call: Mapping[str, Any] | None = None


def translate(model: VideoEncoder) -> Translation:
    """Return an encoder in the terms of ``transformers``.

    Raises:
        InputError: If there is no network there that computes the same.
    """
    encoder = model.config.encoder
    tensors = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    if isinstance(encoder, EncoderConfig) and encoder.st_adapter is None:
        divided = encoder.attention_type == "divided_space_time"
        return _timesformer(encoder, tensors) if divided else _image_transformer(encoder, tensors, _sizes(encoder))
    if isinstance(encoder, VJepaConfig):
        return _vjepa(encoder, tensors)
    if isinstance(encoder, TimmConfig):
        return _timm(model, encoder, tensors)
    raise InputError(f"transformers has no network for {encoder.describe()}; export it as ONNX or OpenVINO")


def _sizes(encoder: EncoderConfig) -> dict[str, Any]:
    return {
        "hidden_size": encoder.embed_dim,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.num_heads,
        "qkv_bias": encoder.qkv_bias,
        "layer_norm_eps": encoder.layer_norm_eps,
        "hidden_act": "gelu",
        "image_size": encoder.img_size,
        "patch_size": encoder.patch_size,
        "num_channels": encoder.in_chans,
        "intermediate_size": encoder.mlp_dim,
    }


_TIMESFORMER = (
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^time_embed$", "embeddings.time_embeddings"),
    (r"\.temporal_norm1\.", ".temporal_layernorm."),
    (r"\.temporal_attn\.qkv\.", ".temporal_attention.attention.qkv."),
    (r"\.temporal_attn\.proj\.", ".temporal_attention.output.dense."),
    (r"\.temporal_fc\.", ".temporal_dense."),
    (r"\.attn\.qkv\.", ".attention.attention.qkv."),
)

_VIT = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.", "encoder.layer."),
    (r"^norm\.", "layernorm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.(query|key|value)\.", r".attention.attention.\1."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)

_DINOV2 = (
    *_VIT[:5],
    (r"^reg_token$", "embeddings.register_tokens"),
    *_VIT[7:9],
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
)

_VJEPA = (
    (r"^patch_embed\.", "encoder.embeddings.patch_embeddings."),
    (r"^blocks\.", "encoder.layer."),
    (r"^norm\.", "encoder.layernorm."),
    (r"\.attn\.", ".attention."),
)


def _renamed(tensors: Mapping[str, Tensor], names: tuple[tuple[str, str], ...], *, split: bool) -> dict[str, Tensor]:
    """Return tensors by other names, with fused queries, keys and values apart on request."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        parts = {name: tensor}
        if split and ".attn.qkv." in name:
            parts = {
                name.replace(".qkv.", f".{part}."): chunk
                for part, chunk in zip(("query", "key", "value"), tensor.chunk(3), strict=True)
            }
        for own, part in parts.items():
            for old, new in names:
                own = re.sub(old, new, own)
            renamed[own] = part.contiguous()
    return renamed


def _timesformer(encoder: EncoderConfig, tensors: Mapping[str, Tensor]) -> Translation:
    sizes = {**_sizes(encoder), "num_frames": encoder.num_frames, "attention_type": "divided_space_time"}
    # The table above comes first, so that the rules of ViT do not take the tensors of attention over time.
    named = _renamed(tensors, (*_TIMESFORMER, *_VIT), split=False)
    config = {"model_type": "timesformer", **sizes}
    return Translation("TimesformerModel", config, named, "VideoMAEImageProcessor")


def _vjepa(encoder: VJepaConfig, tensors: Mapping[str, Tensor]) -> Translation:
    width, small = encoder.embed_dim, _NO_PREDICTOR
    config = {
        "model_type": "vjepa2",
        "patch_size": encoder.patch_size,
        "crop_size": encoder.img_size,
        "frames_per_clip": encoder.num_frames,
        "tubelet_size": encoder.tubelet_size,
        "hidden_size": width,
        "in_chans": encoder.in_chans,
        "num_attention_heads": encoder.num_heads,
        "num_hidden_layers": encoder.depth,
        "mlp_ratio": encoder.mlp_ratio,
        "layer_norm_eps": encoder.layer_norm_eps,
        "qkv_bias": encoder.qkv_bias,
        "pred_hidden_size": small,
        "pred_num_attention_heads": 1,
        "pred_num_hidden_layers": 0,
        "pred_num_mask_tokens": 1,
    }
    shapes = {
        "embeddings.predictor_embeddings.weight": (small, width),
        "embeddings.predictor_embeddings.bias": (small,),
        "embeddings.mask_tokens": (1, 1, 1, small),
        "layernorm.weight": (small,),
        "layernorm.bias": (small,),
        "proj.weight": (width, small),
        "proj.bias": (width,),
    }
    named = _renamed(tensors, _VJEPA, split=True)
    named.update({f"predictor.{name}": torch.zeros(shape) for name, shape in shapes.items()})
    return Translation("VJEPA2Model", config, named, "VJEPA2VideoProcessor", call={"skip_predictor": True})


def _image_transformer(encoder: BaseEncoderConfig, tensors: Mapping[str, Tensor], sizes: dict[str, Any]) -> Translation:
    named = _renamed(tensors, _VIT, split=True)
    # The pooler passes the class token on.
    named["pooler.dense.weight"], named["pooler.dense.bias"] = (
        torch.eye(encoder.embed_dim),
        torch.zeros(encoder.embed_dim),
    )
    config = {"model_type": "vit", **sizes, "pooler_act": "linear"}
    return Translation("ViTModel", config, named, "BitImageProcessor", per_frame=True)


_TIMM_NAMES = re.compile(
    r"cls_token|pos_embed|reg_token|blocks\.\d+\.ls[12]\.gamma"
    r"|(patch_embed\.proj|norm|blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12]))\.(weight|bias)"
)
"""Tensors of timm's networks that ViT and DINOv2 of ``transformers`` have as well."""


def _timm(model: VideoEncoder, encoder: TimmConfig, tensors: Mapping[str, Tensor]) -> Translation:
    assert isinstance(model, TimmEncoder)
    image, inner = model.image, {name.removeprefix("image."): tensor for name, tensor in tensors.items()}
    known = (
        r"(cls_token|pos_embed|reg_token|(patch_embed\.proj|norm|blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12]))"
    )
    known += r"\.(weight|bias)|blocks\.\d+\.ls[12]\.gamma)"
    others = sorted(name for name in inner if not re.fullmatch(known, name))
    if others or "cls_token" not in inner or "pos_embed" not in inner:
        what = f"its tensor {others[0]} has no place there" if others else "it has no class token or table of positions"
        raise InputError(
            f"transformers has no network that computes the same as {encoder.describe()}: {what}; export it as ONNX or "
            "OpenVINO"
        )
    blocks, width = image.blocks, encoder.embed_dim
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": blocks[0].attn.num_heads,
        "qkv_bias": "blocks.0.attn.qkv.bias" in inner,
        "layer_norm_eps": image.norm.eps,
        "hidden_act": "gelu",
        "image_size": encoder.img_size,
        "patch_size": encoder.patch_size,
        "num_channels": encoder.in_chans,
        "intermediate_size": blocks[0].mlp.fc1.out_features,
    }
    if image.no_embed_class:
        # Its table has rows for patches alone: the class token has no position.
        inner["pos_embed"] = torch.nn.functional.pad(inner["pos_embed"], (0, 0, 1, 0))
    if "blocks.0.ls1.gamma" not in inner:
        return _image_transformer(encoder, inner, sizes)
    named = _renamed(inner, _DINOV2, split=True)
    named["embeddings.mask_token"] = torch.zeros(1, width)
    registers = inner["reg_token"].shape[1] if "reg_token" in inner else 0
    config = {**sizes, "mlp_ratio": sizes["intermediate_size"] // width}
    del config["intermediate_size"]
    if registers:
        config = {"model_type": "dinov2_with_registers", **config, "num_register_tokens": registers}
        return Translation("Dinov2WithRegistersModel", config, named, "BitImageProcessor", per_frame=True)
    return Translation("Dinov2Model", {"model_type": "dinov2", **config}, named, "BitImageProcessor", per_frame=True)
