"""Image transformers as clip encoders, the baseline of ST-Adapter: from timm, or from a video encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import InputError, StateDictError, quoted, require_extra
from endofm.models.build import build_encoder
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.model import EndoFMForVideoClassification
from endofm.tasks.features.model import VideoEncoder


def classifier_on_timm(
    name: str, head: ClassificationHeadConfig, *, num_frames: int = 8, pretrained: bool = True, **options: Any
) -> EndoFMForVideoClassification:
    """Put a new head on an image transformer of timm that encodes every frame.

    Plain vision transformers are accepted, such as ``vit_base_patch16_224.augreg_in21k``,
    ``vit_base_patch16_224.mae`` or ``vit_base_patch16_224.dino``: their tensors have the names of this package.
    Transformers with further parts (the norm before the blocks in CLIP's, layer scale, registers) are refused.

    Args:
        name: Name of the model in timm.
        head: Configuration of the head.
        num_frames: Frames per clip of the preprocessing.
        pretrained: Load timm's trained weights; they are downloaded if they are not in its cache.
        **options: Further arguments of ``timm.create_model``.

    Returns:
        The model in evaluation mode; the preprocessing has timm's mean and deviation for these weights.

    Raises:
        InputError: If timm does not know the name.
        StateDictError: If the model is not a plain vision transformer.
        MissingExtraError: If timm is not installed.
    """
    timm = require_extra("timm", "train", "An image transformer of timm")
    if not timm.is_model(name.split(".")[0]):
        raise InputError(f"timm has no model {quoted(name)}; timm.list_models('vit*') names those that may fit")
    image = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    tensors = {key: tensor for key, tensor in image.state_dict().items() if not key.startswith(("head.", "fc_norm."))}
    try:
        width, channels, patch, _ = tensors["patch_embed.proj.weight"].shape
        encoder = EncoderConfig(
            attention_type="space_only",
            img_size=image.patch_embed.img_size[0],
            patch_size=patch,
            num_frames=num_frames,
            in_chans=channels,
            embed_dim=width,
            depth=len(image.blocks),
            num_heads=image.blocks[0].attn.num_heads,
            mlp_ratio=tensors["blocks.0.mlp.fc1.weight"].shape[0] / width,
            qkv_bias="blocks.0.attn.qkv.bias" in tensors,
            layer_norm_eps=image.blocks[0].norm1.eps,
        )
    except (KeyError, AttributeError) as error:
        raise StateDictError(f"{name}: not a plain vision transformer; it has no {error}") from error
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in build_encoder(encoder).state_dict().items()}
    odd = sorted(
        {key for key in (*tensors, *shapes) if tuple(tensors.get(key, torch.empty(0)).shape) != shapes.get(key)}
    )
    # The quick GELU of CLIP has no tensors that would give it away.
    gelu = isinstance(image.blocks[0].mlp.act, torch.nn.GELU)
    if odd or not gelu:
        raise StateDictError(
            f"{name}: not a plain vision transformer; it differs in {', '.join(odd[:4]) or 'its GELU'}"
        )
    data = image.pretrained_cfg
    preprocess = PreprocessConfig.for_image_size(
        encoder.img_size, num_frames=num_frames, mean=tuple(data["mean"]), std=tuple(data["std"])
    )
    model = EndoFMForVideoClassification(
        ModelConfig(encoder=encoder, preprocess=preprocess, head=head, trained=False),
        provenance={"source": f"timm {name}"},
    )
    model.backbone.load_state_dict(tensors)
    return model.eval()


def without_time(encoder: VideoEncoder, head: ClassificationHeadConfig) -> EndoFMForVideoClassification:
    """Put a new head on the image transformer inside a video encoder: its blocks without attention over time.

    Args:
        encoder: Source of attention over space, MLPs, patch embedding and position embedding.
        head: Configuration of the head.

    Returns:
        The model in evaluation mode.
    """
    plain = replace(encoder.config.transformer, attention_type="space_only", st_adapter=None)
    config = replace(encoder.config, encoder=plain, head=head, name="", trained=False)
    model = EndoFMForVideoClassification(config, provenance=encoder.provenance)
    tensors = encoder.state_dict()
    model.backbone.load_state_dict({name: tensors[name] for name in model.backbone.state_dict()})
    return model.to(device=encoder.device, dtype=encoder.dtype).eval()
