"""Image networks of other projects as files in their original layouts, compared with timm's and torchvision's own.

There are no golden numbers of these: the plain network computes what is expected, from the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from endofm.config.timm_config import TimmConfig
from endofm.models.timm_layouts import LAYOUTS
from endofm.tasks.features.model import VideoEncoder
from helpers.original_encoders import IMAGE_TINY, Original, Tensors, check_image, difference, prefixed


@dataclass(frozen=True, kw_only=True)
class PeerOriginal(Original):
    """An encoder that another package computes.

    Attributes:
        peer: Builds the network with weights of its own, whose state dict ``written`` takes.
    """

    peer: Callable[[], nn.Module]

    def tensors(self) -> Tensors:
        """Return the peer's weights."""
        return {name: tensor.clone() for name, tensor in drawn(self.peer).state_dict().items()}


@cache
def drawn(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network in evaluation mode, always the same one: no gain, scale or statistic is left at its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                # Statistics of batch norms stay positive; scales of layers are far from their tiny start.
                scale = 0.3 if tensor.ndim == 1 or "scale" in name else 0.02
                tensor.add_(scale * torch.rand(tensor.shape, generator=generator))
    return network.eval()


def compare(outputs: Callable[[Tensor], tuple[Tensor, Tensor]], size: int) -> Callable[[VideoEncoder], float]:
    """Return the comparison with a peer, relative to its largest output.

    Args:
        outputs: From frames ``(frames, 3, height, width)`` to embeddings ``(frames, embed_dim)`` and tokens ``(frames,
            patches, embed_dim)``.
        size: Side of the frames.
    """

    def check(model: VideoEncoder) -> float:
        clip = torch.randn(1, 3, 3, size, size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            found, alone = model.forward_features(clip), model(clip)
            embeddings, tokens = outputs(clip[0].transpose(0, 1))
        assert found.patch_tokens is not None
        scale = float(tokens.abs().max())
        mean = embeddings.mean(dim=0, keepdim=True)
        return max(
            difference(found.cls_token, mean.numpy()) / float(mean.abs().max()),
            difference(alone, mean.numpy()) / float(mean.abs().max()),
            difference(found.patch_tokens[0].flatten(1, 2), tokens.numpy()) / scale,
        )

    return check


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, num_classes=0, **options)
        return network

    return build


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision import models

        network: nn.Module = getattr(models, name)(weights=None)
        return network

    return build


def _transformer(build: Callable[[], nn.Module]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def outputs(frames: Tensor) -> tuple[Tensor, Tensor]:
        network: Any = drawn(build)
        features = network.forward_features(frames)
        return network.forward_head(features, pre_logits=True), features[:, network.num_prefix_tokens :]

    return outputs


def _resnet_outputs(frames: Tensor) -> tuple[Tensor, Tensor]:
    network: Any = drawn(RESNET_PEER)
    x = network.maxpool(network.relu(network.bn1(network.conv1(frames))))
    x = network.layer4(network.layer3(network.layer2(network.layer1(x))))
    return x.mean((2, 3)), x.flatten(2).transpose(1, 2)


def _convnext_outputs(frames: Tensor) -> tuple[Tensor, Tensor]:
    network: Any = drawn(CONVNEXT_PEER)
    x = network.features(frames)
    return network.classifier[:2](network.avgpool(x)), x.flatten(2).transpose(1, 2)


def _convnext_ours(tensors: Tensors) -> Tensors:
    layout = next(layout for layout in LAYOUTS if "ConvNeXt" in layout.title)
    return layout.rename({name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.2.")})


def _under_image(tensors: Tensors) -> Tensors:
    return prefixed(tensors, "image.")


_CLASS_ROW = 0.25
"""Row of the class token in DINOv2's table of positions."""


def _with_class_row(tensors: Tensors) -> Tensors:
    return _under_image({**tensors, "cls_token": tensors["cls_token"] - _CLASS_ROW + _CLASS_ROW})


def _meta_registers(tensors: Tensors) -> dict[str, Any]:
    """Return DINOv2's file with registers: Meta's names, a row of positions for the class token, the mask token."""
    written = dict(tensors)
    written["register_tokens"] = written.pop("reg_token")
    row = torch.full_like(written["cls_token"], _CLASS_ROW)
    written["cls_token"] = written["cls_token"] - row
    written["pos_embed"] = torch.cat((row, written["pos_embed"]), dim=1)
    return {"teacher": prefixed({**written, "mask_token": torch.ones(1, 384)}, "backbone.")}


def _teacher_and_student(tensors: Tensors) -> dict[str, Any]:
    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    head = {"head.mlp.0.weight": torch.ones(4, 8)}
    return {
        "student": {**prefixed(zeros, "module.backbone."), **prefixed(head, "module.")},
        "teacher": {**prefixed(tensors, "backbone."), **head},
        "epoch": 30,
    }


def _moco_file(tensors: Tensors) -> dict[str, Any]:
    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    state = {
        **prefixed(tensors, "module.base_encoder."),
        "module.base_encoder.head.0.weight": torch.ones(4, 64),
        **prefixed(zeros, "module.momentum_encoder."),
        "module.predictor.0.weight": torch.ones(4, 4),
    }
    return {"arch": "vit_base", "epoch": 300, "state_dict": state, "optimizer": {"state": {}}}


RESNET_PEER, CONVNEXT_PEER = _torchvision("resnet50"), _torchvision("convnext_tiny")
_DINO_V2 = _timm("vit_small_patch14_dinov2", img_size=56)
_DINO_V2_REGISTERS = _timm("vit_small_patch14_reg4_dinov2", img_size=56)
_DINO_V3 = _timm("vit_small_patch16_dinov3", img_size=64)

SURGENET_DINO_V2 = PeerOriginal(
    name="SurgeNetXL-DINOv2",
    encoder=TimmConfig(model="vit_small_patch14_dinov2", img_size=56, patch_size=14, embed_dim=384),
    peer=_DINO_V2,
    written=lambda tensors: {**tensors, "mask_token": torch.ones(1, 384)},
    left_out=("mask_token",),
    check=compare(_transformer(_DINO_V2), 56),
    convert=(),
    ours=_under_image,
)
SURGENET_DINO_V3 = PeerOriginal(
    name="SurgeNetXL-DINOv3",
    encoder=TimmConfig(model="vit_small_patch16_dinov3", embed_dim=384),
    peer=_DINO_V3,
    written=dict,
    check=compare(_transformer(_DINO_V3), 64),
    convert=(),
    ours=_under_image,
)
GASTRONET_DINO_V2 = PeerOriginal(
    name="GastroNet-5M-DINOv2",
    encoder=TimmConfig(model="vit_small_patch14_reg4_dinov2", img_size=56, patch_size=14, embed_dim=384),
    peer=_DINO_V2_REGISTERS,
    written=_meta_registers,
    left_out=("mask_token",),
    check=compare(_transformer(_DINO_V2_REGISTERS), 56),
    file="dinov2.pth",
    convert=(),
    ours=_with_class_row,
)
GASTRONET_RESNET = PeerOriginal(
    name="GastroNet-5M-RN50",
    encoder=TimmConfig(model="resnet50", embed_dim=2048, patch_size=32),
    peer=RESNET_PEER,
    written=dict,
    left_out=("fc.weight", "fc.bias"),
    check=compare(_resnet_outputs, 64),
    file="RN50_Billion-Scale-SWSL+GastroNet-5M_DINOv1.pth",
    convert=(),
    ours=lambda tensors: _under_image({name: t for name, t in tensors.items() if not name.startswith("fc.")}),
)
LEMONFM = PeerOriginal(
    name="LemonFM",
    # The small size: the layout is that of the large one.
    encoder=TimmConfig(model="convnext_tiny", embed_dim=768, patch_size=32),
    peer=CONVNEXT_PEER,
    written=_teacher_and_student,
    left_out=("classifier.2.weight", "head.mlp.0.weight"),
    check=compare(_convnext_outputs, 64),
    file="lemonfm.pth",
    convert=(),
    ours=_convnext_ours,
)
SSL4GIE_MOCO = Original(
    name="SSL4GIE-MoCo-v3",
    encoder=IMAGE_TINY,
    written=_moco_file,
    left_out=("module.base_encoder.head.0.weight", "module.momentum_encoder.cls_token"),
    check=check_image,
)
ENDOSSL = Original(name="EndoSSL", encoder=IMAGE_TINY, written=_teacher_and_student, check=check_image)

IMAGE_ORIGINALS = (
    SURGENET_DINO_V2,
    SURGENET_DINO_V3,
    GASTRONET_DINO_V2,
    GASTRONET_RESNET,
    LEMONFM,
    SSL4GIE_MOCO,
    ENDOSSL,
)
