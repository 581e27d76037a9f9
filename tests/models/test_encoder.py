"""Invariants of the encoder that need no stored numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.errors import InputError
from endofm.kernels.backend import EAGER
from endofm.layers.block import resize_position_embedding, resize_time_embedding
from endofm.models.encoder import VideoTransformer
from helpers.random_encoder import random_encoder

SMALL = EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=2, num_heads=2)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 9),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
)
def test_all_paths_agree_on_every_shape(batch: int, time: int, rows: int, columns: int) -> None:
    model = random_encoder(SMALL)
    clip = torch.randn(batch, 3, time, 16 * rows, 16 * columns)
    with torch.no_grad():
        short = model(clip)
        features = model.forward_features(clip)
    unfolded = model(clip)
    assert features.patch_tokens is not None
    assert features.patch_tokens.shape == (batch, time, rows, columns, 24)
    torch.testing.assert_close(short, features.cls_token, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(short, unfolded, atol=1e-5, rtol=1e-5)
    one_by_one = torch.cat([model(c[None]) for c in clip])
    torch.testing.assert_close(one_by_one, unfolded, atol=1e-5, rtol=1e-5)


def test_fresh_encoder_ignores_the_order_of_frames() -> None:
    model = VideoTransformer(SMALL).eval()
    clip = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(model(clip), model(clip.flip(2)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        random_encoder(SMALL)(clip), random_encoder(SMALL)(clip), msg="the same weights must give the same numbers"
    )
    assert not torch.allclose(random_encoder(SMALL)(clip), random_encoder(SMALL)(clip.flip(2)), atol=1e-3)


def test_folded_projection_follows_the_weights() -> None:
    model = random_encoder(SMALL)
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        model(clip)
        model.blocks[0].temporal_fc.weight.mul_(2)  # type: ignore[union-attr, operator]
        after_in_place = model(clip)
    torch.testing.assert_close(after_in_place, model(clip).detach(), atol=1e-5, rtol=1e-5)
    other = random_encoder(SMALL, seed=1)
    model.load_state_dict(other.state_dict())
    with torch.inference_mode():
        after_load = model(clip)
    torch.testing.assert_close(after_load.clone(), other(clip).detach(), atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert model.double()(clip.double()).dtype == torch.float64


class _Scaled(nn.Linear):
    """Stands for an adapter that a user put in the place of a linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * super().forward(x)


@pytest.mark.parametrize("name", ["temporal_fc", "temporal_attn.proj", "attn.qkv", "attn.proj", "temporal_attn.qkv"])
def test_a_replaced_layer_is_never_bypassed(name: str) -> None:
    model = random_encoder(SMALL)
    changed = copy.deepcopy(model)
    for block in changed.blocks:
        layer = block.get_submodule(name)
        layer.__class__ = _Scaled
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        short = changed(clip)
        assert not torch.allclose(short, model(clip), atol=1e-3)
        torch.testing.assert_close(short, changed.forward_features(clip).cls_token, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(short, changed(clip).detach(), atol=1e-5, rtol=1e-5)


def test_state_dict_survives_inference() -> None:
    model = random_encoder(SMALL)
    names = set(model.state_dict())
    with torch.no_grad():
        model(torch.randn(1, 3, 4, 32, 32))
    assert set(model.state_dict()) == names


def test_intermediate_layers_by_index() -> None:
    model = random_encoder(SMALL)
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        first, last = model.get_intermediate_layers(clip, n=2)
        swapped = model.get_intermediate_layers(clip, n=[-1, 0])
        full = model.forward_features(clip)
    torch.testing.assert_close(swapped[0].cls_token, last.cls_token)
    torch.testing.assert_close(swapped[1].cls_token, first.cls_token)
    torch.testing.assert_close(last.patch_tokens, full.patch_tokens)
    for n in (0, 3, [2], [-3], []):
        with pytest.raises(InputError, match="does not name blocks"):
            model.get_intermediate_layers(clip, n=n)


def test_attention_rows_are_distributions() -> None:
    with torch.no_grad():
        attention = random_encoder(SMALL).get_last_attention(torch.randn(2, 3, 3, 32, 48))
    assert attention.shape == (2, 3, 2, 7, 7)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, 2, 7))


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (torch.zeros(3, 8, 32, 32), "5 axes"),
        (torch.zeros(1, 1, 8, 32, 32), "3 channels"),
        (torch.zeros(1, 3, 0, 32, 32), "at least one frame"),
        (torch.zeros(1, 3, 8, 33, 32), "multiples of the patch size 16, got 33 x 32"),
        (torch.zeros(1, 3, 8, 32, 0), "multiples of the patch size"),
        (torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8), "processor"),
        ([1, 2], "got list"),
    ],
)
def test_wrong_clips_are_refused(clip: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        random_encoder(SMALL)(clip)


def test_compiles_without_graph_breaks() -> None:
    model = random_encoder(SMALL)
    clip = torch.randn(1, 3, 4, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(clip), model(clip), atol=1e-5, rtol=1e-5)
    features = torch.compile(model.forward_features, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(features(clip).cls_token, model(clip), atol=1e-5, rtol=1e-5)


def test_autocast_keeps_the_residual_stream_in_float32() -> None:
    model = random_encoder(SMALL)
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = model(clip)
        features = model.forward_features(clip)
    assert low.dtype == torch.float32
    similarity = torch.cosine_similarity(low, model(clip).detach())
    assert (similarity > 0.999).all()
    torch.testing.assert_close(low, features.cls_token.float(), atol=0.05, rtol=0.05)


def test_attention_and_its_gradient_are_the_same_by_either_kernel() -> None:
    """In training, bfloat16 on a processor goes another way than the fused kernel."""
    torch.manual_seed(0)
    for shape in ((6, 2, 17, 16), (5, 3, 2, 8)):
        parts = [torch.randn(shape).bfloat16().requires_grad_() for _ in range(3)]
        exact = [part.detach().float().requires_grad_() for part in parts]
        EAGER.attend(*parts).float().square().sum().backward()
        torch.nn.functional.scaled_dot_product_attention(*exact).square().sum().backward()
        for low, full in zip(parts, exact, strict=True):
            assert low.grad is not None
            assert full.grad is not None
            torch.testing.assert_close(low.grad.float(), full.grad, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("recompute", [False, True])
def test_many_shapes_at_once_are_one_after_the_other(recompute: bool) -> None:
    shapes = [(2, 3, 4, 32, 32), (3, 3, 2, 16, 16), (1, 3, 1, 32, 48)]
    clips = [torch.randn(shape) for shape in shapes]
    model = random_encoder(EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=3, num_heads=2)).train()
    results = {}
    for kind in ("one by one", "at once"):
        model.zero_grad()
        model.set_grad_checkpointing(recompute and kind == "at once")
        out = torch.cat([model(clip) for clip in clips]) if kind == "one by one" else model.forward_many(clips)
        out.square().sum().backward()
        results[kind] = [out.detach()] + [p.grad.clone() for p in model.parameters() if p.grad is not None]
    assert len(results["at once"]) == 1 + len(list(model.parameters()))
    for a, b in zip(*results.values(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def test_stochastic_depth_of_many_shapes_drops_the_same_slices() -> None:
    """With a single shape, the draws are those of the unpacked block."""
    config = EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=2, num_heads=2, drop_path_rate=0.5)
    model = random_encoder(config).train()
    clip = torch.randn(5, 3, 4, 32, 32)
    for seed in range(3):
        torch.manual_seed(seed)
        alone = model(clip)
        torch.manual_seed(seed)
        torch.testing.assert_close(model.forward_many([clip]), alone, atol=1e-5, rtol=1e-5)


def test_drop_path_acts_in_training_only() -> None:
    model = random_encoder(EncoderConfig.preset("tiny", depth=2, img_size=32, num_frames=4, drop_path_rate=0.5))
    assert [block.drop_path_rate for block in model.blocks] == [0, 0.5]
    clip = torch.randn(8, 3, 4, 32, 32)
    torch.testing.assert_close(model(clip), model(clip))
    model.train()
    assert not torch.allclose(model(clip), model(clip), atol=1e-3)


@given(rows=st.integers(1, 20), frames=st.integers(1, 40))
def test_time_embedding_is_resized_by_nearest_neighbour(rows: int, frames: int) -> None:
    embedding = torch.arange(rows, dtype=torch.float32).view(1, rows, 1)
    resized = resize_time_embedding(embedding, frames)
    assert resized.flatten().tolist() == [t * rows // frames for t in range(frames)]


@given(side=st.integers(1, 14), height=st.integers(1, 30), width=st.integers(1, 30))
def test_position_embedding_is_resized_by_nearest_neighbour(side: int, height: int, width: int) -> None:
    embedding = torch.arange(1 + side * side, dtype=torch.float32).view(1, -1, 1)
    resized = resize_position_embedding(embedding, (height, width)).flatten().tolist()
    if height * width == side * side:
        assert resized == embedding.flatten().tolist()
    else:
        assert resized[0] == 0
        assert resized[1:] == [
            1 + (y * side // height) * side + x * side // width for y in range(height) for x in range(width)
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda clip: clip.to_sparse(), "ordinary dense tensor"),
        (lambda clip: clip.to("meta"), "the clip is on meta, the model on cpu"),
        (lambda clip: clip[:0], "at least one clip of at least one frame"),
        (lambda clip: clip[:, :, :0], "at least one clip of at least one frame"),
    ],
)
def test_clips_of_another_kind_are_refused(change: Callable[[Tensor], Tensor], message: str) -> None:
    model = VideoTransformer(EncoderConfig.preset("tiny"))
    with pytest.raises(InputError, match=message):
        model(change(torch.zeros(1, 3, 2, 32, 32)))
