"""Encoders of other projects, tiny, as files in their original layouts with the weights of the golden numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from endofm.config import BaseEncoderConfig, EncoderConfig
from endofm.config.mamba_config import MambaConfig
from endofm.config.vjepa_config import VJepaConfig
from endofm.models.build import build_encoder
from endofm.models.timm_layouts import LAYOUTS, SURGENET_CAFORMER
from endofm.tasks.features.model import VideoEncoder
from helpers.golden_fill import normal_input, params
from helpers.paths import GOLDEN

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Original:
    """An encoder of another project.

    Attributes:
        name: For test ids.
        encoder: Its architecture, tiny.
        written: From its tensors by our names to the content of the project's file.
        left_out: Tensors in the file that are no part of the encoder.
        check: Compares a loaded encoder with the golden numbers; returns the largest difference.
        file: Name of the file.
        convert: Arguments of ``endofm convert`` that the tensors do not tell.
        shapes: Shapes by the original's names, if the golden weights were drawn by those; None: by our names.
        ours: From the tensors that were drawn to the network's.
    """

    name: str
    encoder: BaseEncoderConfig
    written: Callable[[Tensors], dict[str, Any]]
    check: Callable[[VideoEncoder], float]
    left_out: tuple[str, ...] = ()
    file: str = "weights.pth"
    convert: tuple[str, ...] = field(default=("--num-heads", "4"))
    shapes: Callable[[], Mapping[str, tuple[int, ...]]] | None = None
    ours: Callable[[Tensors], Tensors] = dict

    def tensors(self) -> Tensors:
        """Return the golden weights, by the names from which ``written`` makes the file."""
        if self.shapes is not None:
            return {name: torch.from_numpy(value) for name, value in params(self.shapes()).items()}
        with torch.device("meta"):
            network = build_encoder(self.encoder)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        return {name: torch.from_numpy(value) for name, value in params(shapes).items()}


def golden(name: str) -> Mapping[str, npt.NDArray[Any]]:
    """Return the golden numbers of a project."""
    return dict(np.load(GOLDEN / "family" / f"{name}.npz"))


def clip(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return an input of the golden numbers."""
    return torch.from_numpy(normal_input(name, shape))


def difference(found: Tensor, expected: npt.NDArray[Any]) -> float:
    """Return the largest difference, infinity for another shape."""
    if tuple(found.shape) != expected.shape:
        return float("inf")
    return float(np.abs(found.numpy() - expected).max())


SPACE_TIME_CASES = {
    "base": (2, 3, 6, 64, 64),
    "frames8": (1, 3, 8, 64, 64),
    "frames3": (1, 3, 3, 64, 64),
    "frames24": (1, 3, 24, 32, 32),
    "size96": (1, 3, 6, 96, 96),
    "size80x48": (1, 3, 6, 80, 48),
}


def check_space_time(name: str, cases: tuple[str, ...] = tuple(SPACE_TIME_CASES)) -> Callable[[VideoEncoder], float]:
    """Return the comparison with the numbers of a divided space-time transformer."""

    def check(model: VideoEncoder) -> float:
        numbers, worst = golden(name), 0.0
        for case in cases:
            with torch.inference_mode():
                pixels = clip(f"{name}/{case}", SPACE_TIME_CASES[case])
                output, alone = model.forward_features(pixels), model(pixels)
            assert output.patch_tokens is not None
            # The original's order: class token, then (y, x, t) with time fastest.
            patches = output.patch_tokens.permute(0, 2, 3, 1, 4).flatten(1, 3)
            tokens = torch.cat((output.cls_token[:, None], patches), dim=1)
            step = 1 if case in ("base", "frames3") else 5
            worst = max(
                worst,
                difference(alone, numbers[f"{case}/cls"]),
                difference(output.cls_token, numbers[f"{case}/cls"]),
                difference(tokens[:, ::step], numbers[f"{case}/tokens"]),
            )
        return worst

    return check


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """Return tensors under a prefix."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _training_file(tensors: Tensors, extra: Tensors | None = None) -> dict[str, Any]:
    """Return what the training scripts of the Endo-FM family save: teacher and student, each with a head."""
    backbone = {**tensors, **(extra or {})}
    zeros = {name: torch.zeros_like(tensor) for name, tensor in backbone.items()}
    head = {"mlp.0.weight": torch.ones(8, 64), "mlp.0.bias": torch.ones(8)}
    return {
        "student": {**prefixed(zeros, "module.backbone."), **prefixed(head, "module.head.")},
        "teacher": {**prefixed(backbone, "backbone."), **prefixed(head, "head.")},
        "motion_student": 0,
        "motion_teacher": 0,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 30,
        "dino_loss": {"center": torch.zeros(1, 8)},
    }


def _m2crl_file(tensors: Tensors) -> dict[str, Any]:
    extra = {
        "masked_embed": torch.ones(1, 64),
        "decoder.0.weight": torch.ones(768, 64, 1, 1),
        "decoder.0.bias": torch.ones(768),
    }
    return _training_file(tensors, extra)


def _stomp_file(tensors: Tensors) -> dict[str, Any]:
    tables = {"cls_token": "cls_tokens", "pos_embed": "pos_embeds", "time_embed": "time_embeds"}
    renamed = {tables.get(name, name).replace(".attn.", ".space_attn."): tensor for name, tensor in tensors.items()}
    zeros = {name: torch.zeros_like(tensor) for name, tensor in renamed.items()}
    state = {
        **prefixed(renamed, "momentum_backbone."),
        "momentum_backbone.masked_embed": torch.ones(1, 64),
        **prefixed(zeros, "backbone."),
        "prototypes.weight": torch.ones(4, 64),
        "decoder.weight": torch.ones(4, 64),
    }
    return {"model_state_dict": state, "epoch": 30}


TINY = EncoderConfig(img_size=64, num_frames=6, embed_dim=64, depth=3, num_heads=4)

LV = Original(
    name="EndoFM-LV",
    encoder=TINY,
    written=_training_file,
    left_out=("head.mlp.0.weight", "head.mlp.0.bias"),
    check=check_space_time("lv_tiny"),
    file="endofm_lv.pth",
)
M2CRL = Original(
    name="M2CRL",
    encoder=TINY,
    written=_m2crl_file,
    left_out=("masked_embed", "decoder.0.weight", "decoder.0.bias", "head.mlp.0.weight", "head.mlp.0.bias"),
    check=check_space_time("m2crl_tiny"),
    file="mmcrl.pth",
)
STOMP = Original(
    name="STOMP",
    encoder=replace(TINY, table_resize="bilinear"),
    written=_stomp_file,
    # Where no table is resized, the network is Endo-FM's block for block.
    check=check_space_time("lv_tiny", ("base",)),
    file="model_final_ep30.pth",
)

VJEPA_CASES = {
    "base": (2, 3, 8, 64, 64),
    "frames2": (1, 3, 2, 64, 64),
    "frames20": (1, 3, 20, 32, 32),
    "size96": (1, 3, 4, 96, 96),
    "size48x80": (1, 3, 4, 48, 80),
}


def check_vjepa(model: VideoEncoder) -> float:
    """Compare with the numbers of a V-JEPA 2 encoder, at other sizes and lengths too."""
    numbers, worst = golden("vjepa2_tiny"), 0.0
    for case, shape in VJEPA_CASES.items():
        pixels = clip(f"vjepa2_tiny/{case}", shape)
        with torch.inference_mode():
            output, alone = model.forward_features(pixels), model(pixels)
        assert output.patch_tokens is not None
        tokens = output.patch_tokens.flatten(1, 3)
        worst = max(
            worst,
            difference(alone, numbers[f"{case}/mean"]),
            difference(output.cls_token, numbers[f"{case}/mean"]),
            difference(tokens[:, :: 2 if case == "base" else 1], numbers[f"{case}/tokens"]),
        )
    return worst


def _surgmotion_file(tensors: Tensors) -> dict[str, Any]:
    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    return {
        "encoder": prefixed(tensors, "module.backbone."),
        "predictor": {"module.backbone.predictor_embed.weight": torch.ones(4, 128)},
        "target_encoder": prefixed(zeros, "module.backbone."),
        "opt": {"state": {}, "param_groups": []},
        "epoch": 3,
    }


SURGMOTION = Original(
    name="SurgMotion",
    encoder=VJepaConfig(embed_dim=128, depth=3, num_heads=2),
    written=_surgmotion_file,
    left_out=(),
    check=check_vjepa,
    file="SurgMotion-vitl.pt",
    convert=(),
)


def check_image(model: VideoEncoder) -> float:
    """Compare with the numbers of an image transformer, frame by frame."""
    numbers, pixels = golden("framevit_tiny")["base/frame_tokens"], clip("framevit_tiny/base", (2, 3, 4, 64, 64))
    with torch.inference_mode():
        output, alone = model.forward_features(pixels), model(pixels)
        frames = [model(pixels[:, :, [frame]]) for frame in range(4)]
    assert output.patch_tokens is not None
    return max(
        difference(output.patch_tokens.flatten(2, 3), numbers[:, :, 1:]),
        difference(torch.stack(frames, dim=1), numbers[:, :, 0]),
        difference(output.cls_token, numbers[:, :, 0].mean(axis=1)),
        difference(alone, numbers[:, :, 0].mean(axis=1)),
    )


def _endovit_file(tensors: Tensors) -> dict[str, Any]:
    decoder = {
        "mask_token": torch.ones(1, 1, 32),
        "decoder_pos_embed": torch.ones(1, 17, 32),
        "decoder_embed.weight": torch.ones(32, 64),
        "decoder_blocks.0.norm1.weight": torch.ones(32),
        "decoder_pred.bias": torch.ones(8),
    }
    return {"model": {**tensors, **decoder}, "epoch": 14}


def _stitch_file(tensors: Tensors) -> dict[str, Any]:
    return {
        "teacher": {**prefixed(tensors, "backbone."), "backbone.masked_embed": torch.ones(1, 64)},
        "student": {f"module.backbone.{name}": torch.zeros_like(tensor) for name, tensor in tensors.items()},
        "epoch": 30,
    }


IMAGE_TINY = EncoderConfig(
    img_size=64,
    embed_dim=64,
    depth=3,
    num_heads=4,
    attention_type="space_only",
    table_resize="bicubic",
    pooling="mean_of_norms",
)

ENDOVIT = Original(
    name="EndoViT",
    encoder=IMAGE_TINY,
    written=_endovit_file,
    left_out=("mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.norm1.weight"),
    check=check_image,
    file="pytorch_model.bin",
)
GASTRONET = Original(name="GastroNet-5M", encoder=IMAGE_TINY, written=dict, check=check_image)
PL_STITCH = Original(
    name="PL-Stitch",
    encoder=IMAGE_TINY,
    written=_stitch_file,
    left_out=("masked_embed",),
    check=check_image,
    file="pl_lemon.pth",
)
SURGENET_DINO = Original(
    name="SurgeNetXL-DINOv1",
    encoder=IMAGE_TINY,
    written=lambda tensors: {**tensors, "head.weight": torch.ones(2, 64)},
    left_out=("head.weight",),
    check=check_image,
)


def check_caformer(model: VideoEncoder) -> float:
    """Compare with the numbers of SurgeNet's CAFormer."""
    numbers, pixels = golden("surgenet_caformer"), clip("surgenet/base", (1, 3, 64, 64)).unsqueeze(2)
    stages: list[Tensor] = []
    for stage in model.get_submodule("image.stages").children():
        stage.register_forward_hook(lambda module, inputs, output: stages.append(output))
    with torch.inference_mode():
        output = model.forward_features(pixels)
    assert output.patch_tokens is not None
    return max(
        difference(output.cls_token, numbers["base/global"]),
        difference(output.patch_tokens[:, 0].permute(0, 3, 1, 2), numbers["base/map"]),
        difference(stages[0][:, ::8], numbers["base/stage0_sub"]),
        difference(stages[2][:, ::8], numbers["base/stage2_sub"]),
    )


def _caformer_shapes() -> Mapping[str, tuple[int, ...]]:
    text = (GOLDEN / "family" / "surgenet_caformer_state_dict.json").read_text(encoding="utf-8")
    return {name: tuple(shape) for name, shape in json.loads(text).items()}


def _caformer_ours(tensors: Tensors) -> Tensors:
    renamed = LAYOUTS[0].rename({name: tensor for name, tensor in tensors.items() if not name.startswith("head.")})
    return renamed


CAFORMER = Original(
    name="SurgeNetXL-CAFormer",
    encoder=SURGENET_CAFORMER,
    written=dict,
    left_out=("head.fc1.weight", "head.fc1.bias", "head.norm.weight"),
    check=check_caformer,
    file="SurgeNetXL_checkpoint_epoch0050_teacher.pth",
    convert=(),
    shapes=_caformer_shapes,
    ours=_caformer_ours,
)

MAMBA_CASES = {"base": (2, 3, 5, 64, 64), "frames1": (1, 3, 1, 64, 64), "frames9": (1, 3, 9, 64, 64)}


def check_mamba(model: VideoEncoder) -> float:
    """Compare with the numbers of EndoMamba."""
    numbers, worst = golden("endomamba_tiny"), 0.0
    for case, shape in MAMBA_CASES.items():
        with torch.inference_mode():
            output = model.forward_features(clip(f"endomamba_tiny/{case}", shape))
        assert output.patch_tokens is not None
        patches, tokens = output.patch_tokens.flatten(2, 3), numbers[f"{case}/tokens"]
        found = (
            difference(patches[:, :, 2::3], tokens[:, :, 1:])
            if case == "frames9"
            else difference(patches, tokens[:, :, 1:])
        )
        worst = max(worst, found, difference(output.cls_token, numbers[f"{case}/clip_cls_mean"]))
    return worst


def _mamba_file(tensors: Tensors) -> dict[str, Any]:
    others = {
        "decoder.layers.0.norm.weight": torch.ones(8),
        "mask_token": torch.ones(1, 1, 8),
        "encoder.head.weight": torch.ones(2),
    }
    return {"model": {**prefixed(tensors, "encoder."), **others}, "epoch": 3, "scaler": {}}


ENDOMAMBA = Original(
    name="EndoMamba",
    encoder=MambaConfig(img_size=64, embed_dim=64, depth=4, spatial_depth=2),
    written=_mamba_file,
    left_out=("decoder.layers.0.norm.weight", "mask_token", "encoder.head.weight"),
    check=check_mamba,
    convert=(),
)

ORIGINALS = (LV, M2CRL, STOMP, SURGMOTION, ENDOVIT, GASTRONET, PL_STITCH, SURGENET_DINO, CAFORMER, ENDOMAMBA)
"""Encoders with golden numbers; those without are in :mod:`helpers.image_originals`."""
