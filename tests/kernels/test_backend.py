"""Every fast path against the modules as they are."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.reference import Reference
from endofm.config import EncoderConfig
from endofm.kernels.backend import Backend, FoldedBackend, OneDnnBackend, can_prepack
from endofm.kernels.float32 import AmxFloat32Backend, PanelFloat32Backend
from endofm.kernels.int8 import Int8Backend, PanelInt8Backend, can_multiply_int8, int8_backend
from endofm.kernels.native_products import panels_available, split_available
from endofm.kernels.precision import Precision
from helpers.random_encoder import random_encoder

SMALL = EncoderConfig(img_size=32, num_frames=4, embed_dim=32, depth=3, num_heads=2)
TOLERANCE: dict[Precision, float] = {"exact": 1e-5, "bfloat16": 0.1}
SIMILARITY: dict[Precision, float] = {"exact": 1 - 1e-6, "bfloat16": 0.999, "int8": 0.99}
_OUTPUTS = ("cls_token", "patch_tokens")
if can_multiply_int8():
    TOLERANCE["int8"] = 0.5


def available_backends() -> list[Backend]:
    made: list[Backend] = [FoldedBackend(), FoldedBackend(torch.bfloat16)]
    made += [int8_backend()] if can_multiply_int8() else []
    made += [AmxFloat32Backend()] if split_available() else []
    made += [PanelFloat32Backend(), PanelInt8Backend()] if panels_available() else []
    return made + [OneDnnBackend(dtype) for dtype in (torch.float32, torch.bfloat16) if can_prepack(dtype)]


def assert_near(results: Tensor, expected: Tensor, precision: Precision) -> None:
    assert results.dtype == expected.dtype
    similar = torch.cosine_similarity(results.double(), expected.double(), dim=-1)
    assert similar.min() > SIMILARITY[precision]
    torch.testing.assert_close(results, expected, atol=TOLERANCE[precision], rtol=TOLERANCE[precision])


@pytest.mark.parametrize("precision", TOLERANCE)
@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 5),
    time=st.sampled_from([1, 2, 3, 4, 8, 9, 16]),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
)
def test_inference_agrees_with_the_modules(
    precision: Precision, batch: int, time: int, rows: int, columns: int
) -> None:
    model = random_encoder(SMALL, precision)
    clip = torch.randn(batch, 3, time, 16 * rows, 16 * columns)
    expected = model.forward_features(clip)  # gradients are recorded: the modules as they are
    assert expected.cls_token.requires_grad
    assert expected.patch_tokens is not None
    with torch.inference_mode():
        results, short = model.forward_features(clip), model(clip)
        published = Reference(model)(clip)
    assert results.patch_tokens is not None
    assert_near(results.cls_token, expected.cls_token.detach(), precision)
    assert_near(results.patch_tokens, expected.patch_tokens.detach(), precision)
    assert_near(short, expected.cls_token.detach(), precision)
    assert_near(published, expected.cls_token.detach(), "exact")


@pytest.mark.parametrize("clips_of_a_part", [0, 1, 2, 3, 9])
def test_large_batches_go_in_parts(clips_of_a_part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the clips, each once, and none of them larger than asked for."""
    model, clips = random_encoder(SMALL), torch.randn(7, 3, 4, 32, 32)
    with torch.inference_mode():
        alone = [model.get_intermediate_layers(clip[None], n=2) for clip in clips]
        expected = [torch.cat([getattr(out[i], name) for out in alone]) for i in (0, 1) for name in _OUTPUTS]
        one_clip = 4 * 5 * model.encoder_config.mlp_dim * 4
        monkeypatch.setattr("endofm.kernels.backend._LARGE", clips_of_a_part * one_clip + 1)
        seen: list[int] = []
        model.blocks[0].register_forward_pre_hook(lambda block, args: seen.append(args[0].shape[1]))
        results = [getattr(out, name) for out in model.get_intermediate_layers(clips, n=2) for name in _OUTPUTS]
        assert sum(seen) == 7
        assert max(seen) <= max(clips_of_a_part, 1)
        assert len(seen) == -(-7 // max(clips_of_a_part, 1))
        torch.testing.assert_close(model(clips), expected[2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(results, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_other_outputs_agree(precision: Precision, qkv_bias: bool) -> None:
    model = random_encoder(EncoderConfig(img_size=48, embed_dim=24, depth=3, num_heads=3, qkv_bias=qkv_bias), precision)
    clip = torch.randn(3, 3, 5, 32, 48)
    expected, attention = model.get_intermediate_layers(clip, n=3, norm=False), model.get_last_attention(clip)
    with torch.no_grad():
        results = model.get_intermediate_layers(clip, n=3, norm=False)
        assert_near(model.get_last_attention(clip), attention.detach(), precision)
    for one, other in zip(results, expected, strict=True):
        assert one.patch_tokens is not None
        assert other.patch_tokens is not None
        assert_near(one.patch_tokens, other.patch_tokens.detach(), precision)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_gradients_are_those_of_the_modules(precision: Precision) -> None:
    model, plain = random_encoder(SMALL, precision), random_encoder(SMALL)
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        model(clip)  # prepares weights that the gradients must not see
    for network in (model, plain):
        network(clip).square().sum().backward()
    for (name, parameter), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad), name  # type: ignore[arg-type]
    model.requires_grad_(False)
    clip.requires_grad_()
    model(clip).sum().backward()
    assert clip.grad is not None


@pytest.mark.parametrize("backend", available_backends(), ids=lambda a: f"{type(a).__name__}-{a._dtype}")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (3, 1), (2, 5, 7)])
def test_products(backend: FoldedBackend, bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(24, 40, bias=bias), nn.Linear(40, 24, bias=bias)
    x, dtype = torch.randn(*shape, 24), backend._dtype or torch.float32
    kept = x.clone()
    tolerance = 0.05 if dtype is torch.bfloat16 or isinstance(backend, Int8Backend) else 1e-5
    with torch.no_grad():
        low = x.to(dtype)
        results = {
            "linear": (backend.linear(low, first), first(x)),
            "gelu": (backend.linear(low, first, gelu=True), nn.functional.gelu(first(x))),
            "in a row": (backend.linear(low, first, second), second(first(x))),
            "sum": (backend.add(x, low, first, second), x + second(first(x))),
        }
        for name, (one, other) in results.items():
            torch.testing.assert_close(one.float(), other, atol=tolerance, rtol=tolerance, msg=name)
        assert results["sum"][0].dtype == torch.float32
        assert isinstance(backend, Int8Backend) or results["linear"][0].dtype == dtype
        assert torch.equal(x, kept)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_build_without_packed_products_gives_the_same(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        usual = random_encoder(SMALL, precision)(clip)
        monkeypatch.setattr("endofm.kernels.precision.can_prepack", lambda dtype: False)
        without = random_encoder(SMALL, precision)
        assert_near(without(clip), usual, precision)
    assert not any(isinstance(a, OneDnnBackend) for a in without.backends._backends.values())


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("way", ["in place", "data", "load", "assign", "optimizer", "average"])
def test_changed_weights_are_noticed(precision: Precision, way: str) -> None:
    model, other = random_encoder(SMALL, precision), random_encoder(SMALL)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        before = model(clip)
        pairs = list(zip(model.parameters(), other.parameters(), strict=True))
        if way == "in place":
            for mine, new in pairs:
                mine.copy_(new)
        elif way == "data":
            for mine, new in pairs:
                mine.data.mul_(0).add_(new.data)
        elif way == "average":
            torch._foreach_lerp_([mine for mine, _ in pairs], [new for _, new in pairs], 1.0)
        elif way in ("load", "assign"):
            model.load_state_dict(other.state_dict(), assign=way == "assign")
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            for mine, new in pairs:
                mine.grad = mine - new
            optimizer.step()
        after = model(clip)
    assert not torch.allclose(before, after, atol=1e-3)
    assert_near(after, other(clip).detach(), precision)


def test_prepared_weights_belong_to_no_copy_and_no_file() -> None:
    model = random_encoder(SMALL, "bfloat16")
    clip = torch.randn(1, 3, 4, 32, 32)
    names = set(model.state_dict())
    with torch.no_grad():
        expected = model(clip)
    assert set(model.state_dict()) == names
    twin = copy.deepcopy(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for one in (twin, torch.load(file, weights_only=False)):
        assert one.precision == "bfloat16"
        assert not one.backends._backends
        with torch.no_grad():
            assert torch.equal(one(clip), expected)


def test_weights_made_in_inference_mode_are_used_as_they_are() -> None:
    with torch.inference_mode():
        model = random_encoder(SMALL)
        clip = torch.randn(1, 3, 4, 32, 32)
        first = model(clip)
        for parameter in model.parameters():
            parameter.mul_(1.5)
        assert not torch.allclose(model(clip), first, atol=1e-3)
        assert_near(model(clip), Reference(model)(clip), "exact")


@pytest.mark.parametrize("precision", TOLERANCE)
def test_hooked_and_replaced_layers_are_called(precision: Precision) -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = random_encoder(SMALL, precision)
    clip = torch.randn(2, 3, 4, 32, 32)
    for block in model.blocks:
        for name in ("temporal_fc", "attn.proj", "mlp.fc1", "mlp.fc2", "temporal_attn.qkv"):
            block.get_submodule(name).__class__ = Doubled
    seen: list[Tensor] = []
    model.blocks[0].temporal_attn.proj.register_forward_hook(lambda module, args, out: seen.append(out))
    expected = model.forward_features(clip)
    with torch.no_grad():
        assert_near(model(clip), expected.cls_token.detach(), precision)
    assert len(seen) == 2


def test_vanished_and_wrong_operators_of_onednn_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_prepack(torch.float32):
        pytest.skip("this build does not pack weights")
    can_prepack.cache_clear()
    monkeypatch.setattr(OneDnnBackend, "multiply", lambda self, x, weights, *, gelu: x)
    assert not can_prepack(torch.float32)
    can_prepack.cache_clear()

    def gone(*args: Any) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    monkeypatch.setattr(OneDnnBackend, "prepare", gone)
    assert not can_prepack(torch.float32)
    can_prepack.cache_clear()
