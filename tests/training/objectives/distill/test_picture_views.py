"""Views and targets of pictures: one geometry for both, draws that depend on the step alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from endofm.data.stills.still_bank import StillBank
from endofm.errors import InputError
from endofm.training.engine.training_task import LoaderSpec
from endofm.training.objectives.distill.distill_config import PictureViewConfig
from endofm.training.objectives.distill.picture_views import PictureViews, ViewCutter
from endofm.training.objectives.distill.target_maps import TargetMaps
from endofm.training.views.view_config import ViewConfig
from endofm.transforms import affine
from endofm.video.clip_windows import Int64Array

PLAIN = ViewConfig(
    flip_probability=0.0, grey_probability=0.0, jitter_probability=0.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)
SIZES = np.array([[96, 128], [100, 100]] * 8)


def spec(batch_size: int = 8, rank: int = 0, world_size: int = 1) -> LoaderSpec:
    return LoaderSpec(rank=rank, world_size=world_size, batch_size=batch_size, num_workers=0, pin_memory=False)


def smooth_pictures() -> torch.Tensor:
    noise = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 255
    return F.interpolate(noise, size=(128, 128), mode="bicubic").clamp(0, 255).to(torch.uint8)


def test_targets_follow_the_pixels() -> None:
    """Where the map is the picture itself, reduced, a view's target is the view's own pixels, reduced."""
    pixels = smooth_pictures()
    levels = tuple(F.avg_pool2d(pixels.float(), 128 // cells).half() for cells in (16, 32, 64))
    bank = StillBank(pixels, SIZES, tuple("abcdefghijklmnop"))
    cutter = ViewCutter(bank, TargetMaps(levels, (16, 32, 64)), size=64, grid=8, colours=PLAIN)
    views = PictureViews(SIZES, PictureViewConfig(frames=(2,), scale=(0.1, 0.6)), PLAIN, spec(16), seed=0)
    for draws in views:
        clips, targets = cutter(draws)
        assert clips.shape == (8, 3, 2, 64, 64)
        assert targets.shape == (8, 2, 8, 8, 3)
        own = F.avg_pool3d(clips * 255, (1, 8, 8)).permute(0, 2, 3, 4, 1)
        assert (own - targets).abs().mean() < 4
        # Another geometry, e.g. a mirrored one, would not agree.
        assert (own.flip(3) - targets).abs().mean() > 12


def test_views_are_the_same_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU cuts all clips of a level together, a CPU one clip after the other: the arithmetic is the same."""
    levels = tuple(torch.randn(16, 3, cells, cells).half() for cells in (4, 8))
    cutter = ViewCutter(
        StillBank(smooth_pictures(), SIZES, tuple("abcdefghijklmnop")),
        TargetMaps(levels, (4, 8)),
        size=32,
        grid=4,
        colours=ViewConfig(),
    )
    views = PictureViews(SIZES, PictureViewConfig(frames=(2,)), ViewConfig(), spec(16), seed=0)
    (draws,) = views
    one_by_one = cutter(draws)
    original, groups = affine._parts, []

    def parts(levels: Int64Array, *, one_by_one: bool) -> Iterator[tuple[slice | list[int], int]]:
        groups.extend(original(levels, one_by_one=False))
        return iter(groups)

    monkeypatch.setattr(affine, "_parts", parts)
    together = cutter(draws)
    assert 1 < len(groups) < 8
    for first, second in zip(one_by_one, together, strict=True):
        torch.testing.assert_close(second, first, rtol=0, atol=1e-5)


def test_draws_depend_on_epoch_and_step_alone() -> None:
    config = PictureViewConfig(frames=(1, 2, 4))
    views = PictureViews(SIZES, config, ViewConfig(), spec(), seed=3)
    views.set_epoch(5)
    whole = list(views)
    views.set_epoch(5, 1)
    (rest,) = views
    np.testing.assert_array_equal(rest.windows, whole[1].windows)
    np.testing.assert_array_equal(rest.pictures, whole[1].pictures)
    assert rest.colours == whole[1].colours
    views.set_epoch(6)
    assert not np.array_equal(next(iter(views)).windows.ravel()[:6], whole[0].windows.ravel()[:6])


def test_every_step_has_as_many_frames_and_processes_share_the_pictures() -> None:
    config = PictureViewConfig(frames=(1, 2, 4))
    ranks = [PictureViews(SIZES, config, ViewConfig(), spec(4, rank, 2), seed=0) for rank in (0, 1)]
    lengths = set()
    for epoch in range(10):
        for views in ranks:
            views.set_epoch(epoch)
        for one, other in zip(*ranks, strict=True):
            assert one.windows.shape[0] * one.windows.shape[1] == 4
            assert one.windows.shape == other.windows.shape
            assert not set(one.pictures.tolist()) & set(other.pictures.tolist())
            lengths.add(one.windows.shape[1])
    assert lengths == {1, 2, 4}


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="16 pictures are fewer than a step takes"):
        PictureViews(SIZES, PictureViewConfig(), ViewConfig(), spec(32), seed=0)
    with pytest.raises(InputError, match="a step of 2 frames holds no clip of 4"):
        PictureViews(SIZES, PictureViewConfig(), ViewConfig(), spec(2), seed=0)
