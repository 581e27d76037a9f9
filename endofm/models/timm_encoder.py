"""Image networks of timm, run on every frame of a clip: whatever our own transformer does not compute.

LayerScale, registers, rotary positions, convolutions and pooling are timm's; this module gives them the output of all
encoders. :mod:`endofm.models.timm_layouts` describes the files in which other projects hold such networks.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from endofm.config.timm_config import TimmConfig
from endofm.errors import ConfigError, InputError, require_extra
from endofm.kernels.precision import effective_precision
from endofm.models.encoder import ClipEncoder
from endofm.outputs import EncoderOutput


class TimmEncoder(ClipEncoder):
    """Image network of timm over the frames of a clip; its parameters have timm's names behind ``image.``.

    The clip embedding is the mean over frames of what the network gives its classifier: a normed class token or pooled
    feature map. Patch tokens are the tokens of the last layer, or the cells of the last feature map.

    Args:
        config: Architecture.

    Raises:
        ConfigError: If timm has no such architecture, or its tokens have another width or size.
    """

    encoder_config: TimmConfig

    def __init__(self, config: TimmConfig) -> None:
        super().__init__(config)
        self.image = build_image_network(config)
        width = getattr(self.image, "head_hidden_size", self.image.num_features)
        if (width, self.image.num_features) != (config.embed_dim, config.embed_dim):
            raise ConfigError(
                f"timm's {config.model} has embeddings of {width} and tokens of {self.image.num_features} channels, "
                f"the configuration states {config.embed_dim}"
            )
        if (reduction := reduction_of(self.image)) != config.patch_size:
            raise ConfigError(
                f"a token of timm's {config.model} stands for {reduction} pixels, the configuration states "
                f"{config.patch_size}"
            )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, as timm does it."""
        self.image.set_grad_checkpointing(enable)

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid.

        Raises:
            InputError: If the clip has another form, or the precision is not available for such a network.
        """
        self.require_clip(clip)
        batch, _, time, height, width = clip.shape
        frames = clip.to(next(self.parameters()).dtype).transpose(1, 2).flatten(0, 1)  # (B T) C H W
        with self._autocast(clip.device):
            features = self.image.forward_features(frames)
            embeddings = self.image.forward_head(features, pre_logits=True)
        grid = (height // self.patch_size, width // self.patch_size)
        tokens = self._tokens(features.float()).view(batch, time, *grid, self.embed_dim)
        return EncoderOutput(embeddings.float().view(batch, time, -1).mean(dim=1), tokens)

    def _tokens(self, features: Tensor) -> Tensor:
        """Return features of frames as contiguous tokens ``(frames, rows * columns or rows, columns, embed_dim)``."""
        if features.ndim == 3:
            return features[:, int(self.image.num_prefix_tokens) :].contiguous()
        channels_last = getattr(self.image, "output_fmt", "NCHW") == "NHWC"
        return features if channels_last else features.permute(0, 2, 3, 1).contiguous()

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.training or self.precision == "exact":
            return nullcontext()
        if self.precision == "int8":
            raise InputError("precision 'int8' is not available for networks of timm; use 'bfloat16' or 'exact'")
        lower = effective_precision(self.precision, device) == "bfloat16"
        return torch.autocast(device.type, torch.bfloat16, enabled=lower)


def build_image_network(config: TimmConfig, *, fixed_size: bool = False) -> Any:
    """Return timm's network without classifier, with random weights.

    Args:
        config: Architecture.
        fixed_size: Take images of the configured size alone: a graph of it then has no resizing of positions.

    Raises:
        ConfigError: If timm has no such architecture.
        MissingExtraError: If timm is not installed.
    """
    timm = require_extra("timm", "train", "An image network of timm")
    if not timm.is_model(config.model):
        raise ConfigError(f"timm {timm.__version__} has no architecture {config.model!r}")
    options = {"in_chans": config.in_chans, "num_classes": 0, "drop_path_rate": config.drop_path_rate}
    sized = {"img_size": config.img_size, "dynamic_img_size": not fixed_size}
    # Transformers take the size of their tables and resize them; networks of convolutions know no size.
    for more in (sized, {"img_size": config.img_size}, {}):
        try:
            network = timm.create_model(config.model, pretrained=False, **options, **more)
            break
        except TypeError:
            if not more:
                raise
    if config.plain_relu:
        _use_plain_relu(network)
    return network


def reduction_of(network: Any) -> int:
    """Return the side in pixels of what a token of one of timm's networks stands for."""
    return int(network.feature_info[-1]["reduction"])


def _use_plain_relu(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child).__name__ == "StarReLU":
                setattr(parent, name, nn.ReLU())
