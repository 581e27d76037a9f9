"""The divided space-time block: its class-token shortcut and stochastic depth."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.config import EncoderConfig
from endofm.layers.block import drop_path
from helpers.random_encoder import random_encoder


def test_stochastic_depth_of_the_class_token_alone_is_that_of_all_tokens() -> None:
    block = random_encoder(EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=1, num_heads=2)).blocks[0]
    block.train()
    block.drop_path_rate = 0.5
    tokens = torch.randn(4, 6, 5, 24).index_fill(2, torch.tensor(0), 0.3)
    for seed in range(3):
        torch.manual_seed(seed)
        full = block(tokens)[0, :, 0]
        torch.manual_seed(seed)
        torch.testing.assert_close(block.forward_cls(tokens), full, atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(rate=st.floats(0.05, 0.9), axes=st.sampled_from([(1,), (0, 1), (1, 2)]))
def test_drop_path_drops_whole_slices_and_keeps_the_mean(rate: float, axes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ones = torch.ones(64, 64, 4, 3)
    out = drop_path(ones, rate, axes=axes)
    assert set(out.unique().tolist()) <= {0.0, torch.tensor(1 / (1 - rate)).item()} | set(out.unique()[-1:].tolist())
    others = [axis for axis in range(4) if axis not in axes]
    torch.testing.assert_close(out.amax(others), out.amin(others))
    deviation = (rate / (1 - rate) / out.amax(others).numel()) ** 0.5
    assert abs(out.mean().item() - 1) < 6 * deviation


def test_the_temporal_branch_is_dropped_per_position() -> None:
    """All frames of one position of a clip share a draw, as published."""
    config = EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=1, num_heads=2)
    model = random_encoder(config).train()
    block = model.blocks[0]
    block.drop_path_rate = 0.5
    with torch.no_grad():
        for parameter in [*block.mlp.fc2.parameters(), *block.attn.proj.parameters()]:
            parameter.zero_()
        tokens, _ = model.embed(torch.randn(3, 3, 4, 32, 32))
        moved = block(tokens) - tokens  # only the temporal branch remains
    patches = moved[:, :, 1:] - block.temporal_fc.bias
    dropped = patches.abs().amax(-1) < 1e-5  # T B N
    assert (dropped == dropped[:1]).all(), "all frames of one position share a draw"
    assert 0 < dropped.float().mean() < 1
    assert moved[:, :, 0].abs().max() < 1e-6, "the class token does not take part in attention over time"
