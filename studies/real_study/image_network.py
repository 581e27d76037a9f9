"""The ImageNet network of the comparison as an encoder of this package: frozen, and its maps are remembered.

Importing this module registers the kind, so that fine-tuning puts the same heads on it as on every other encoder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from endofm.config import BaseEncoderConfig, ModelConfig, PreprocessConfig
from endofm.encoder_table import EncoderKind, register_encoder_kind
from endofm.hub.encoder_layout import EncoderLayout
from endofm.hub.model_folder import save_folder
from endofm.models.encoder import ClipEncoder
from endofm.outputs import EncoderOutput
from endofm.training.objectives.distill.distill_config import PACKAGED_TEACHER, TeacherConfig
from endofm.training.objectives.distill.teachers import Teacher, load_teachers
from studies.real_study.labelled_items import SIDE

WIDTH, REDUCTION = 1280, 32
"""Channels of the last map of EfficientNet-Lite0, and the pixels that a cell stands for."""

LAYOUTS: tuple[EncoderLayout, ...] = ()
"""No published file holds this kind: the weights come with a package."""


@dataclass(frozen=True, kw_only=True)
class ImageNetworkConfig(BaseEncoderConfig):
    """The image network whose weights come with a package."""

    kind: ClassVar[str] = "packaged-image-network"

    def describe(self) -> str:
        """Return the kind and size of the network."""
        return f"a frozen {PACKAGED_TEACHER} per frame: width {self.embed_dim}"


@cache
def packaged_teacher() -> Teacher:
    """Return the network, which is loaded once."""
    (teacher,) = load_teachers([TeacherConfig(model=PACKAGED_TEACHER)])
    return teacher


_REMEMBERED: dict[bytes, Tensor] = {}
"""Map of every frame that was seen, by the checksum of its pixels: float16 ``(WIDTH, rows, columns)``."""


class ImageNetwork(ClipEncoder):
    """EfficientNet-Lite0 over the frames of a clip. It has no trainable weights and computes every frame once.

    Args:
        config: Architecture.
    """

    def __init__(self, config: ImageNetworkConfig) -> None:
        super().__init__(config)
        # A model folder holds at least one tensor; gradients and devices go by it too.
        self.scale = nn.Parameter(torch.ones(1))

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the cells of the last map; clips are normalised as :func:`write_image_network` says."""
        self.require_clip(clip)
        batch, _, time, _, _ = clip.shape
        frames = clip.detach().transpose(1, 2).flatten(0, 1)  # (B T) C H W
        keys = [hashlib.blake2b(frame.contiguous().numpy().tobytes(), digest_size=16).digest() for frame in frames]
        missing = [place for place, key in enumerate(keys) if key not in _REMEMBERED]
        if missing:
            teacher = packaged_teacher()
            found = teacher.maps(frames[missing].float() * teacher.std + teacher.mean)
            _REMEMBERED.update((keys[place], each.half().clone()) for place, each in zip(missing, found, strict=True))
        maps = torch.stack([_REMEMBERED[key] for key in keys]).float() * self.scale  # (B T) D h w
        tokens = torch.unflatten(maps.permute(0, 2, 3, 1), 0, (batch, time))
        return EncoderOutput(tokens.mean(dim=(1, 2, 3)), tokens)


def write_image_network(folder: Path, frames: int) -> Path:
    """Write the model folder of the network for clips of ``frames`` frames; return the folder."""
    teacher = packaged_teacher()
    encoder = ImageNetworkConfig(embed_dim=WIDTH, patch_size=REDUCTION, img_size=SIDE, num_frames=frames)
    red, green, blue = teacher.mean.flatten().tolist()
    deviations = teacher.std.flatten().tolist()
    preprocess = PreprocessConfig.whole_frame(
        SIDE, num_frames=frames, mean=(red, green, blue), std=(deviations[0], deviations[1], deviations[2])
    )
    config = ModelConfig(encoder=encoder, preprocess=preprocess)
    return save_folder(folder, config=config, state_dict=ImageNetwork(encoder).state_dict())


register_encoder_kind(
    EncoderKind(
        name=ImageNetworkConfig.kind,
        config=f"{__name__}:ImageNetworkConfig",
        network=f"{__name__}:ImageNetwork",
        layouts=f"{__name__}:LAYOUTS",
    )
)
