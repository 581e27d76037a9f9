"""Files in which other projects hold image networks that timm computes.

Sources: TimJaspers0801/SurgeNet at 54831cf (CAFormer), the tensors' names of DINOv2 (Meta's and timm's), of DINOv3 in
timm, and of ``resnet50`` and ``convnext_*`` in torchvision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from endofm.config.family_preprocess import whole_frame
from endofm.config.timm_config import TimmConfig
from endofm.errors import ConfigError
from endofm.hub.encoder_layout import EncoderLayout
from endofm.hub.encoder_tensors import square_grid

_PREFIX = "image."

_SIZES = {384: "small", 768: "base", 1024: "large"}
"""Vision transformers that differ in nothing but their size, by their width."""

_CONVNEXTS = {(96, 9): "tiny", (96, 27): "small", (128, 27): "base", (192, 27): "large"}
"""Sizes of ConvNeXt by the width of the first stage and the number of blocks in the third."""


def _behind_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_PREFIX + name: tensor for name, tensor in tensors.items()}


_CAFORMER_NAMES = (
    (r"^downsample_layers\.0\.conv\.", "stem.conv."),
    (r"^downsample_layers\.0\.post_norm\.", "stem.norm."),
    (r"^downsample_layers\.(\d+)\.conv\.", r"stages.\1.downsample.conv."),
    (r"^downsample_layers\.(\d+)\.pre_norm\.", r"stages.\1.downsample.norm."),
    (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"^norm\.", "head.norm."),
)


def _caformer_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of SurgeNet's CAFormer by timm's names.

    Before attention sets in, in the first two stages, timm has 1 x 1 convolutions where the original has linear layers.
    """
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _CAFORMER_NAMES:
            name = re.sub(old, new, name)
        linear = tensor.ndim == 2 and re.match(r"stages\.[01]\..*(pwconv|fc)\d\.weight$", name)
        renamed[name] = tensor[:, :, None, None] if linear else tensor
    return _behind_prefix(renamed)


def _infer_caformer(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> TimmConfig:
    return SURGENET_CAFORMER


SURGENET_CAFORMER = TimmConfig(model="caformer_s18", plain_relu=True, embed_dim=512, patch_size=32)
"""SurgeNet's CAFormer-S18."""


def _dinov2_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of DINOv2 by timm's names.

    With registers, Meta's table of positions has a row for the class token, which timm adds to the token itself.
    """
    renamed = dict(tensors)
    if "register_tokens" in renamed:
        renamed["reg_token"] = renamed.pop("register_tokens")
        positions = renamed["pos_embed"]
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:]
    return _behind_prefix(renamed)


def _infer_dinov2(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> TimmConfig:
    width, channels, patch, _ = tensors[f"{_PREFIX}patch_embed.proj.weight"].shape
    registers = f"{_PREFIX}reg_token" in tensors
    rows = tensors[f"{_PREFIX}pos_embed"].shape[1]
    return TimmConfig(
        model=f"vit_{_size(width, source)}_patch{patch}_{'reg4_' if registers else ''}dinov2",
        img_size=patch * square_grid(rows if registers else rows - 1, source),
        patch_size=patch,
        in_chans=channels,
        embed_dim=width,
    )


def _infer_dinov3(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> TimmConfig:
    width, channels, patch, _ = tensors[f"{_PREFIX}patch_embed.proj.weight"].shape
    model = f"vit_{_size(width, source)}_patch{patch}_dinov3"
    # Some sizes were trained with a bias of queries and values as well, which timm calls another architecture.
    if f"{_PREFIX}blocks.0.attn.q_bias" in tensors:
        model += "_qkvb"
    return TimmConfig(model=model, patch_size=patch, in_chans=channels, embed_dim=width)


def _size(width: int, source: str) -> str:
    """Return the size of a transformer by its width; raise ConfigError if no released one has it."""
    if width not in _SIZES:
        raise ConfigError(f"{source}: a transformer of width {width} is none of {', '.join(map(str, _SIZES))}")
    return _SIZES[width]


def _infer_resnet50(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> TimmConfig:
    return TimmConfig(model="resnet50", embed_dim=2048, patch_size=32)


_CONVNEXT_NAMES = (
    (r"^features\.0\.", "stem."),
    (r"^features\.(\d+)\.(\d+)\.layer_scale$", r"stages.\1.blocks.\2.gamma"),
    (r"^features\.(\d+)\.(\d+)\.block\.0\.", r"stages.\1.blocks.\2.conv_dw."),
    (r"^features\.(\d+)\.(\d+)\.block\.2\.", r"stages.\1.blocks.\2.norm."),
    (r"^features\.(\d+)\.(\d+)\.block\.3\.", r"stages.\1.blocks.\2.mlp.fc1."),
    (r"^features\.(\d+)\.(\d+)\.block\.5\.", r"stages.\1.blocks.\2.mlp.fc2."),
    (r"^features\.(\d+)\.", r"stages.\1.downsample."),
    (r"^classifier\.0\.", "head.norm."),
)


def _convnext_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of torchvision's ConvNeXt by timm's names."""
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _CONVNEXT_NAMES:
            name = re.sub(old, new, name)
        if name.startswith("stages."):
            # torchvision counts a stage and the reduction before it apart: 1, 3, 5, 7 and 2, 4, 6.
            _, number, rest = name.split(".", 2)
            name = f"stages.{int(number) // 2}.{rest}"
        renamed[name] = tensor.flatten() if name.endswith(".gamma") else tensor
    return _behind_prefix(renamed)


def _infer_convnext(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> TimmConfig:
    width = tensors[f"{_PREFIX}stem.0.weight"].shape[0]
    blocks = {match[1] for name in tensors if (match := re.match(r"image\.stages\.2\.blocks\.(\d+)\.", name))}
    # The largest index, so that a block without a tensor is reported and does not make another size.
    size = _CONVNEXTS.get((width, 1 + max(map(int, blocks), default=-1)))
    if size is None:
        raise ConfigError(f"{source}: no ConvNeXt of torchvision has a width of {width} and {len(blocks)} blocks")
    return TimmConfig(model=f"convnext_{size}", embed_dim=8 * width, patch_size=32)


def _infer_nothing(tensors: Mapping[str, Tensor], num_heads: int | None, source: str) -> TimmConfig:
    raise AssertionError("only a registered file is read as a network of timm")


LAYOUTS = (
    EncoderLayout(
        title="SurgeNet's CAFormer",
        marks={
            "downsample_layers.0.post_norm.weight": 1,
            "stages.0.0.token_mixer.pwconv1.weight": 2,
            "stages.3.0.token_mixer.qkv.weight": 2,
            "norm.weight": 1,
        },
        infer=_infer_caformer,
        rename=_caformer_names,
        preprocess=whole_frame,
    ),
    EncoderLayout(
        title="DINOv2's image transformer, without its mask token",
        marks={"patch_embed.proj.weight": 4, "pos_embed": 3, "cls_token": 3, "blocks.0.ls1.gamma": 1},
        without=("time_embed",),
        infer=_infer_dinov2,
        left_out=("mask_token",),
        rename=_dinov2_names,
        preprocess=whole_frame,
    ),
    EncoderLayout(
        title="DINOv3's image transformer with timm's names",
        marks={"patch_embed.proj.weight": 4, "cls_token": 3, "reg_token": 3, "blocks.0.gamma_1": 1},
        without=("pos_embed",),
        infer=_infer_dinov3,
        left_out=("mask_token",),
        rename=_behind_prefix,
        preprocess=whole_frame,
    ),
    EncoderLayout(
        title="a ResNet-50",
        marks={"conv1.weight": 4, "bn1.running_mean": 1, "layer3.5.conv3.weight": 4, "layer4.2.conv3.weight": 4},
        without=("layer3.6.conv1.weight",),
        infer=_infer_resnet50,
        left_out=("fc.",),
        rename=_behind_prefix,
        preprocess=whole_frame,
    ),
    EncoderLayout(
        title="torchvision's ConvNeXt",
        marks={"features.0.0.weight": 4, "features.1.0.layer_scale": 3, "features.7.0.block.0.weight": 4},
        infer=_infer_convnext,
        left_out=("classifier.2.",),
        rename=_convnext_names,
        preprocess=whole_frame,
    ),
    EncoderLayout(
        title="a network of timm",
        marks={},
        infer=_infer_nothing,
        rename=_behind_prefix,
        preprocess=whole_frame,
        registered_only=True,
        with_heads=True,
    ),
)
