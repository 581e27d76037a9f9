"""Image transformers of timm as clip encoders."""

from __future__ import annotations

import pytest
import torch

from endofm.errors import InputError, StateDictError
from endofm.models.frame_encoder import FrameTransformer
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.training.transfer.image_encoder import classifier_on_timm
from helpers.small_classifier import clip

HEAD = ClassificationHeadConfig(labels=("normal", "polyp", "blood"))


def test_an_image_transformer_of_timm_gives_its_own_numbers() -> None:
    timm = pytest.importorskip("timm")
    options = {"img_size": 32, "embed_dim": 48, "depth": 2, "num_heads": 3}
    torch.manual_seed(0)
    image = timm.create_model("vit_tiny_patch16_224", num_classes=0, pretrained=False, **options).eval()
    torch.manual_seed(0)
    model = classifier_on_timm("vit_tiny_patch16_224", HEAD, num_frames=4, pretrained=False, **options)
    assert isinstance(model.backbone, FrameTransformer)
    with torch.no_grad():
        tokens = torch.stack([image.forward_features(clip()[:, :, t]) for t in range(4)], 1)
        ours = model.backbone.forward_features(clip())
    assert ours.patch_tokens is not None
    torch.testing.assert_close(ours.patch_tokens.flatten(2, 3), tokens[:, :, 1:], atol=1e-5, rtol=1e-5)
    assert model.config.preprocess.mean == (0.5, 0.5, 0.5)
    one = model.backbone(clip()[:, :, :1])
    torch.testing.assert_close(one, tokens[:, 0, 0], atol=1e-5, rtol=1e-5)


def test_other_models_of_timm_are_refused() -> None:
    pytest.importorskip("timm")
    small = {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 3}
    with pytest.raises(StateDictError, match="not a plain vision transformer"):
        classifier_on_timm("vit_base_patch16_clip_224", HEAD, pretrained=False, **small)
    with pytest.raises(StateDictError, match="not a plain vision transformer"):
        classifier_on_timm("resnet18", HEAD, pretrained=False)
    with pytest.raises(InputError, match="timm has no model"):
        classifier_on_timm("vit_nonsense", HEAD, pretrained=False)
