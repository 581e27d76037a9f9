"""Files of image networks that timm computes: names of the full sizes, and what tells one file from another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from endofm.errors import CheckpointFormatError, ConfigError
from endofm.hub.convert import convert_checkpoint
from endofm.hub.encoder_layout import EncoderLayout
from endofm.hub.registry import get_record
from endofm.models.timm_layouts import LAYOUTS
from helpers.image_originals import GASTRONET_DINO_V2, SURGENET_DINO_V3
from helpers.small_encoder import encoder_shapes

pytest.importorskip("timm")
models = pytest.importorskip("torchvision.models")


def layout(word: str) -> EncoderLayout:
    return next(each for each in LAYOUTS if word in each.title)


def on_meta(name: str, classifier: str) -> dict[str, Tensor]:
    """Tensors of a network of torchvision without its classifier."""
    with torch.device("meta"):
        network: nn.Module = getattr(models, name)(weights=None)
    return {key: tensor for key, tensor in network.state_dict().items() if not key.startswith(classifier)}


@pytest.mark.parametrize(
    ("record", "name", "classifier", "word"),
    [
        ("lemonfm-l", "convnext_large", "classifier.2.", "ConvNeXt"),
        ("gastronet-5m-rn50", "resnet50", "fc.", "ResNet"),
        ("ssl4gie-barlowtwins-rn50", "resnet50", "fc.", "ResNet"),
    ],
)
def test_names_and_shapes_of_the_full_sizes(record: str, name: str, classifier: str, word: str) -> None:
    tensors = on_meta(name, classifier)
    found = layout(word)
    assert not found.differences(tensors)
    renamed = found.rename(tensors)
    encoder = get_record(record).config.encoder
    assert {key: tuple(tensor.shape) for key, tensor in renamed.items()} == encoder_shapes(encoder)
    assert found.infer(renamed, None, "file") == encoder


def test_a_deeper_network_is_not_taken_for_a_resnet_50(tmp_path: Path) -> None:
    with torch.device("meta"):
        assert layout("ResNet").differences(models.resnet101(weights=None).state_dict())
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointFormatError, match=r"Closest is a ResNet-50, but there is no layer3\.5\.conv3"):
        convert_checkpoint(tmp_path / "resnet18.pth")


def test_registers_and_sides_are_read_off_the_tensors(tmp_path: Path) -> None:
    tensors = GASTRONET_DINO_V2.tensors()
    path = tmp_path / "dinov2.pth"
    torch.save(tensors, path)  # timm's names
    assert convert_checkpoint(path).config.encoder == GASTRONET_DINO_V2.encoder


@pytest.mark.parametrize("original", [GASTRONET_DINO_V2, SURGENET_DINO_V3], ids=lambda original: original.name)
def test_a_width_of_no_released_size_is_named(original: object, tmp_path: Path) -> None:
    names = {
        "patch_embed.proj.weight": torch.ones(100, 3, 16, 16),
        "cls_token": torch.ones(1, 1, 100),
        "reg_token": torch.ones(1, 4, 100),
    }
    extra = (
        {"pos_embed": torch.ones(1, 16, 100), "blocks.0.ls1.gamma": torch.ones(100)}
        if original is GASTRONET_DINO_V2
        else {"blocks.0.gamma_1": torch.ones(100)}
    )
    torch.save({**names, **extra}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="width 100 is none of 384, 768, 1024"):
        convert_checkpoint(tmp_path / "other.pth")


def test_a_convnext_of_no_released_size_is_named(tmp_path: Path) -> None:
    tensors = {
        "features.0.0.weight": torch.ones(50, 3, 4, 4),
        "features.1.0.layer_scale": torch.ones(50, 1, 1),
        "features.7.0.block.0.weight": torch.ones(400, 1, 7, 7),
    }
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="no ConvNeXt of torchvision has a width of 50"):
        convert_checkpoint(tmp_path / "other.pth")
