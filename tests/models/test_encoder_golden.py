"""The encoder against stored results of the published code (tests/golden/, from med-air/Endo-FM at 206427e)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from endofm.config import EncoderConfig
from endofm.models.encoder import VideoTransformer
from helpers.golden_fill import normal_input, params
from helpers.paths import GOLDEN

TINY = EncoderConfig(img_size=64, num_frames=4, embed_dim=64, depth=3, num_heads=4)
# Reached on one machine: 2e-6. The stated bounds leave room for other processors' summation orders.
TINY_TOLERANCE = 2e-5
VITB_TOLERANCE = 1e-4


def filled(config: EncoderConfig) -> VideoTransformer:
    model = VideoTransformer(config).eval()
    shapes = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(a) for name, a in params(shapes).items()})
    return model


def published_order(patch_tokens: torch.Tensor, cls_token: torch.Tensor) -> np.ndarray:
    """Class token first, then patches by (y, x, t) with time fastest, as published."""
    patches = patch_tokens.permute(0, 2, 3, 1, 4).flatten(1, 3)
    return torch.cat((cls_token[:, None], patches), dim=1).detach().numpy()


@pytest.fixture(scope="module")
def tiny() -> VideoTransformer:
    return filled(TINY)


@pytest.fixture(scope="module")
def vitb() -> VideoTransformer:
    return filled(EncoderConfig())


@pytest.fixture(scope="module")
def tiny_golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "backbone_tiny.npz"))


@pytest.fixture(scope="module")
def vitb_golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "backbone_vitb.npz"))


TINY_CASES = {
    "base": (2, 3, 4, 64, 64),
    "frames1": (1, 3, 1, 64, 64),
    "frames2": (2, 3, 2, 64, 64),
    "frames6": (1, 3, 6, 64, 64),
    "frames8": (1, 3, 8, 64, 64),
    "size96": (1, 3, 4, 96, 96),
    "size32": (2, 3, 4, 32, 32),
    "size80x48": (1, 3, 4, 80, 48),
    "size32x128": (1, 3, 4, 32, 128),
    "frames16_size32": (2, 3, 16, 32, 32),
}
VITB_CASES = {
    "base": (1, 3, 8, 224, 224),
    "frames4": (1, 3, 4, 224, 224),
    "frames16": (1, 3, 16, 224, 224),
    "size96": (2, 3, 8, 96, 96),
    "frames16_size96": (1, 3, 16, 96, 96),
    "frames2_size96": (1, 3, 2, 96, 96),
    "size224x160": (1, 3, 8, 224, 160),
}


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "autograd"])
@pytest.mark.parametrize("case", TINY_CASES)
def test_tiny(tiny: VideoTransformer, tiny_golden: dict[str, np.ndarray], case: str, grad: bool) -> None:
    # Without gradients the temporal projection is folded, with them it is not: both are held to the same numbers.
    clip = torch.from_numpy(normal_input(f"tiny/{case}", TINY_CASES[case]))
    with torch.set_grad_enabled(grad):
        cls_token = tiny(clip)
        features = tiny.forward_features(clip)
    np.testing.assert_allclose(cls_token.detach(), tiny_golden[f"{case}/cls"], rtol=0, atol=TINY_TOLERANCE)
    assert features.patch_tokens is not None
    tokens = published_order(features.patch_tokens, features.cls_token)
    np.testing.assert_allclose(tokens, tiny_golden[f"{case}/tokens"], rtol=0, atol=TINY_TOLERANCE)


def test_tiny_every_block(tiny: VideoTransformer, tiny_golden: dict[str, np.ndarray]) -> None:
    clip = torch.from_numpy(normal_input("tiny/base", TINY_CASES["base"]))
    with torch.no_grad():
        tokens, grid = tiny.embed(clip)
        embedded = published_order(tokens[:, :, 1:].unflatten(2, grid).movedim(0, 1), tokens[0, :, 0])
        np.testing.assert_allclose(embedded, tiny_golden["base/embedded"], rtol=0, atol=TINY_TOLERANCE)
        layers = tiny.get_intermediate_layers(clip, n=3, norm=False)
    for i, layer in enumerate(layers):
        assert layer.patch_tokens is not None
        block = published_order(layer.patch_tokens, layer.cls_token)
        np.testing.assert_allclose(block, tiny_golden[f"base/block{i}"], rtol=0, atol=TINY_TOLERANCE)


def test_tiny_last_attention(tiny: VideoTransformer, tiny_golden: dict[str, np.ndarray]) -> None:
    clip = torch.from_numpy(normal_input("tiny/base", TINY_CASES["base"]))
    with torch.no_grad():
        attention = tiny.get_last_attention(clip)
    assert attention.shape == (2, 4, 4, 17, 17)
    np.testing.assert_allclose(attention.flatten(0, 1), tiny_golden["base/attn_last_spatial"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("path", ["forward", "forward_features"])
def test_tiny_gradients(tiny_golden: dict[str, np.ndarray], path: str, checkpointing: bool) -> None:
    model = filled(TINY)
    model.set_grad_checkpointing(checkpointing)
    clip = torch.from_numpy(normal_input("tiny/base", TINY_CASES["base"]))
    out = model(clip) if path == "forward" else model.forward_features(clip).cls_token
    (out * torch.from_numpy(normal_input("tiny/grad_out", (2, 64)))).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    for name, norm in zip(tiny_golden["base/grad_names"], tiny_golden["base/grad_l2"], strict=True):
        gradient = gradients[str(name)]
        assert gradient is not None, name
        assert gradient.double().norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-6), name
    stored = [key for key in tiny_golden if key.startswith("base/grad/")]
    assert len(stored) == 4
    for key in stored:
        gradient = gradients[key.removeprefix("base/grad/")]
        assert gradient is not None
        scale = np.abs(tiny_golden[key]).max()
        np.testing.assert_allclose(gradient, tiny_golden[key], rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("case", VITB_CASES)
def test_vitb(vitb: VideoTransformer, vitb_golden: dict[str, np.ndarray], case: str) -> None:
    clip = torch.from_numpy(normal_input(f"vitb/{case}", VITB_CASES[case]))
    with torch.no_grad():
        cls_token = vitb(clip)
        features = vitb.forward_features(clip)
    np.testing.assert_allclose(cls_token, vitb_golden[f"{case}/cls"], rtol=0, atol=VITB_TOLERANCE)
    assert features.patch_tokens is not None
    tokens = published_order(features.patch_tokens, features.cls_token)
    start, step, channel = vitb_golden[f"{case}/tokens_step"]
    np.testing.assert_allclose(
        tokens[:, start::step, ::channel], vitb_golden[f"{case}/tokens_sub"], rtol=0, atol=VITB_TOLERANCE
    )
    patches = tokens[:, 1:].astype(np.float64)
    stats = [patches.mean(), patches.std(), np.abs(patches).mean(), patches.min(), patches.max()]
    np.testing.assert_allclose(stats, vitb_golden[f"{case}/tokens_stats"], rtol=0, atol=VITB_TOLERANCE)


def test_vitb_every_block(vitb: VideoTransformer, vitb_golden: dict[str, np.ndarray]) -> None:
    clip = torch.from_numpy(normal_input("vitb/base", VITB_CASES["base"]))
    with torch.no_grad():
        layers = vitb.get_intermediate_layers(clip, n=12, norm=False)
    assert all(layer.patch_tokens is not None for layer in layers)
    tokens = [published_order(layer.patch_tokens, layer.cls_token) for layer in layers]  # type: ignore[arg-type]
    measured = [(t.mean(dtype=np.float64), t.astype(np.float64).std(ddof=1)) for t in tokens]
    np.testing.assert_allclose(measured, vitb_golden["base/block_mean_std"], rtol=1e-5, atol=1e-6)


def test_vitb_last_attention(vitb: VideoTransformer, vitb_golden: dict[str, np.ndarray]) -> None:
    clip = torch.from_numpy(normal_input("vitb/size96", VITB_CASES["size96"]))
    with torch.no_grad():
        attention = vitb.get_last_attention(clip).flatten(0, 1)[:, :, 0]
    np.testing.assert_allclose(attention, vitb_golden["size96/attn_last_spatial_cls"], rtol=0, atol=1e-5)


def test_names_and_shapes_of_the_published_checkpoint(vitb: VideoTransformer) -> None:
    published = json.loads((GOLDEN / "state_dict_keys_backbone.json").read_text())["backbone"]
    ours = {name: list(p.shape) for name, p in vitb.state_dict().items()}
    assert ours == published
    assert sum(p.numel() for p in vitb.parameters()) == 121_258_752
