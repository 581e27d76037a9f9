"""Random views of clips with masks: pixels and masks stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.config import PreprocessConfig
from endofm.data.loader import ClipLoader
from endofm.data.segmentation.masked_clips import read_list
from endofm.tasks.segmentation.layout import published_preprocess
from endofm.training.finetune.mask_views import MaskView, view_of
from endofm.training.finetune.masked_clip_source import MaskedClipSource
from endofm.training.finetune.published_mask_view import published_view
from endofm.training.finetune.segmentation_config import ClipAugmentation, SegmenterData
from endofm.transforms.processor import Processor
from helpers import paths
from helpers.masked_sets import disc_clip, folder_set
from helpers.segmentation_fill import frame_files


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(paths.GOLDEN / "segmentation.npz"))


PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
WHOLE = Processor(PreprocessConfig.whole_frame(64, **PLAIN))
GREY = replace(ClipAugmentation(), brightness=0.0, contrast=0.0, saturation=0.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), crop=st.sampled_from(["none", "center"]))
def test_masks_follow_the_pixels(seed: int, crop: str) -> None:
    # A picture that is white exactly where its mask is: any view of it must be so, but for interpolated edges.
    _, masks = disc_clip(seed % 50, frames=2, height=96, width=128)
    frames = np.repeat(masks[..., None], 3, axis=-1)
    processor = WHOLE if crop == "none" else Processor(PreprocessConfig(short_side=72, crop_size=64, **PLAIN))
    view = MaskView.draw(GREY, np.random.default_rng(seed))
    pixels, labels = view_of(frames, masks // 255, view, processor)
    assert pixels.shape == (3, 2, 64, 64)
    white = pixels[0] > 0.5
    edge = (pixels[0] > 0.02) & (pixels[0] < 0.98)
    outside = ~_within(view)
    differ = (white != (labels == 1)) & ~edge & ~outside
    assert differ.float().mean() < 0.002
    assert not labels[:, outside].any()


def _within(view: MaskView) -> torch.Tensor:
    centres = (np.arange(64) + 0.5) / 32 - 1
    x, y = np.meshgrid(centres, centres)
    (a, b, c), (d, e, f) = view.matrix
    return torch.from_numpy((np.abs(a * x + b * y + c) <= 1) & (np.abs(d * x + e * y + f) <= 1))


@pytest.mark.parametrize("size", [(48, 64), (200, 131)])
def test_the_plain_view_is_what_the_processor_makes(size: tuple[int, int]) -> None:
    frames, masks = disc_clip(3, height=size[0], width=size[1])
    pixels, labels = view_of(frames, masks // 255, MaskView(), WHOLE)
    torch.testing.assert_close(pixels, WHOLE(frames), rtol=0, atol=2e-3)
    expected = WHOLE.geometry(*size).mask_to_clip(masks // 255)
    assert (labels.numpy() != expected).mean() < 1e-3


def test_published_labels(golden: dict[str, np.ndarray]) -> None:
    geometry = Processor(published_preprocess()).geometry(288, 384)
    masks = np.stack([frame_files(index)[1] == 255 for index in range(200, 206)])
    labels = geometry.mask_to_clip(masks)
    np.testing.assert_array_equal(np.packbits(labels), golden["data/label_bits"])
    np.testing.assert_array_equal(labels.sum((1, 2)), golden["data/label_sum"])


def test_published_views_are_drawn_for_every_frame() -> None:
    processor = Processor(published_preprocess(64))
    frame, mask = (array[:1].repeat(6, axis=0) for array in disc_clip(1, height=96, width=96))
    pixels, labels = published_view(frame, mask // 255, processor, np.random.default_rng(0))
    assert pixels.shape == (3, 6, 64, 64)
    assert len({labels[t].numpy().tobytes() for t in range(6)}) > 1
    assert (pixels.amin((0, 2, 3)) == -1).all()
    assert (pixels.amax((0, 2, 3)) == 1).all()
    # The disc is the brightest thing: masks and pixels were turned together.
    bright = pixels.mean(0) > 0.3
    assert (bright == (labels == 1)).float().mean() > 0.97


def test_coherent_views_change_nothing_between_equal_frames() -> None:
    frame, mask = (array[:1].repeat(4, axis=0) for array in disc_clip(1))
    view = MaskView.draw(ClipAugmentation(), np.random.default_rng(5))
    pixels, labels = view_of(frame, mask // 255, view, WHOLE)
    assert all(torch.equal(pixels[:, 0], pixels[:, t]) and torch.equal(labels[0], labels[t]) for t in range(4))


def test_colours_change_as_said() -> None:
    frames = np.full((1, 8, 8, 3), 100, np.uint8)
    frames[0, :, 4:] = 120
    masks = np.zeros((1, 8, 8), np.uint8)
    plain, _ = view_of(frames, masks, MaskView(), WHOLE)
    bright, _ = view_of(frames, masks, MaskView(brightness=1.2), WHOLE)
    torch.testing.assert_close(bright, plain * 1.2)
    flat, _ = view_of(frames, masks, MaskView(contrast=0.5), WHOLE)
    assert flat.std() == pytest.approx(plain.std().item() / 2, rel=1e-3)
    assert flat.mean() == pytest.approx(plain.mean().item(), rel=1e-3)


def loader(root: object, **options: object) -> ClipLoader:
    config = SegmenterData(train=(str(root),), num_frames=3)
    clips = read_list(str(root), part="train")
    source = MaskedClipSource(clips, config, ClipAugmentation(), WHOLE, seed=1)
    return ClipLoader(source, 2, **options)


def test_draws_depend_on_seed_epoch_and_clip_alone(tmp_path: object) -> None:
    root = folder_set(tmp_path)
    runs = []
    for workers in (0, 2):
        batches = loader(root, num_workers=workers)
        batches.set_epoch(3)
        runs.append({name: frames for b in batches for name, frames in zip(b.ids, b.frames.pixels, strict=True)})
    assert runs[0].keys() == runs[1].keys()
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    later = loader(root)
    later.set_epoch(4)
    assert any(
        not torch.equal(frames, runs[0][name])
        for b in later
        for name, frames in zip(b.ids, b.frames.pixels, strict=True)
    )


def test_clips_that_cannot_be_read_are_named(tmp_path: object) -> None:
    root = folder_set(tmp_path)
    for number in range(1, 7):
        (root / f"frames/3/{number}.png").write_bytes(b"no picture")
    batches = loader(root)
    with pytest.warns(match=r"frames/3 was left out .*frames/3/\d.png"):
        assert sum(len(batch) for batch in batches) == 3
