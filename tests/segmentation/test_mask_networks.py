"""Laws of the segmentation networks, at small sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.tasks.segmentation.hybrid import HybridSegmentationHead
from endofm.tasks.segmentation.layout import SegmentationTaskLayout, from_published
from endofm.tasks.segmentation.light import LightSegmentationHead
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from helpers.published_names import to_published_segmentation
from helpers.small_segmenter import small_segmenter


def tiny_hybrid(*, num_classes: int = 2) -> EndoFMForSegmentation:
    return small_segmenter(num_classes=num_classes).double()  # so that laws hold to the last digits


@pytest.fixture(scope="module")
def hybrid() -> EndoFMForSegmentation:
    return tiny_hybrid()


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 2),
    frames=st.integers(1, 4),
    rows=st.integers(2, 5),
    columns=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_batches_lengths_and_sizes(batch: int, frames: int, rows: int, columns: int, seed: int) -> None:
    model = tiny_hybrid()
    clips = torch.randn(
        batch, 3, frames, 16 * rows, 16 * columns, generator=torch.Generator().manual_seed(seed)
    ).double()
    with torch.no_grad():
        logits = model(clips)
        alone = torch.cat([model(clip[None]) for clip in clips])
        reversed_ = model(clips.flip(2))
    assert logits.shape == (batch, 2, frames, 16 * rows, 16 * columns)
    torch.testing.assert_close(logits, alone, rtol=0, atol=1e-9)
    # No time is told, so the order of frames cannot matter.
    torch.testing.assert_close(reversed_.flip(2), logits, rtol=0, atol=1e-9)


def test_frames_inform_each_other(hybrid: EndoFMForSegmentation) -> None:
    clip = torch.randn(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        together, alone = hybrid(clip)[:, :, :1], hybrid(clip[:, :, :1])
    assert (together - alone).abs().max() > 1e-4


def test_skips_have_the_sides_that_the_decoder_needs(hybrid: EndoFMForSegmentation) -> None:
    maps = hybrid.head.stem(torch.randn(1, 3, 64, 96).double())
    assert [skip.shape[-2:] for skip in maps.skips] == [(8, 12), (16, 24), (32, 48)]
    quarter = maps.skips[1]
    assert not quarter[..., -1, :].any()
    assert not quarter[..., -1].any()
    assert quarter[..., :-1, :-1].any()


def test_positions_of_another_grid_are_interpolated(hybrid: EndoFMForSegmentation) -> None:
    head = hybrid.head
    assert torch.equal(head._positions(4, 4).flatten(1, 2), head.pos_embed)
    constant = HybridSegmentationHead(
        32, 2, grid_size=4, stem_width=32, stem_units=(1, 1, 1), decoder_widths=(32, 16, 16, 8, 8)
    )
    torch.nn.init.constant_(constant.pos_embed, 0.7)
    torch.testing.assert_close(constant._positions(3, 7), torch.full((1, 3, 7, 32), 0.7))


def test_number_of_classes() -> None:
    with torch.no_grad():
        assert tiny_hybrid(num_classes=5)(torch.zeros(1, 3, 1, 32, 32).double()).shape == (1, 5, 1, 32, 32)


def test_gradient_checkpointing_changes_nothing() -> None:
    clip = torch.randn(1, 3, 2, 32, 32, generator=torch.Generator().manual_seed(2)).double()
    gradients = []
    for checkpointing in (False, True):
        model = tiny_hybrid()
        model.backbone.set_grad_checkpointing(checkpointing)
        model(clip).square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == sum(1 for _ in tiny_hybrid().parameters())
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_light_head_gives_the_frames_size() -> None:
    head = LightSegmentationHead(32, 3, width=32, patch_size=16).eval()
    assert head(torch.randn(2, 4, 3, 5, 32)).shape == (2, 3, 4, 48, 80)


def test_light_head_works_frame_by_frame() -> None:
    head = LightSegmentationHead(32, 2, width=32, patch_size=16).eval()
    tokens = torch.randn(2, 3, 2, 2, 32)
    with torch.no_grad():
        torch.testing.assert_close(head(tokens)[:, :, 1:2], head(tokens[:, 1:2]))


def test_names_go_to_the_published_ones_and_back(hybrid: EndoFMForSegmentation) -> None:
    ours = hybrid.state_dict()
    published = to_published_segmentation(ours)
    assert SegmentationTaskLayout().matches(published)
    assert not SegmentationTaskLayout().matches(ours)
    assert not any(name.startswith(("backbone.", "head.")) for name in published)
    assert list(from_published(published)) == list(ours)
