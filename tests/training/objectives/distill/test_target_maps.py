"""Targets: principal axes, and maps that are computed once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from endofm.data.listing import read_clips
from endofm.errors import ConfigError, InputError
from endofm.training.objectives.distill import target_maps as module
from endofm.training.objectives.distill.pictures import read_pictures
from endofm.training.objectives.distill.target_maps import TargetMaps, fit_axes, target_maps
from endofm.training.objectives.distill.teachers import load_teachers
from helpers.made_pictures import write_pictures, write_teacher


def make(folder: Path, count: int = 6, *, whitening: float = 0.5) -> TargetMaps:
    bank, _ = read_pictures(read_clips(folder / "pictures" / "list.csv"), per_clip=1, size=64)
    teachers = load_teachers([write_teacher(folder / "teacher.safetensors")])
    assert len(bank) == count
    return target_maps(bank, teachers, sizes=(128, 64), components=8, whitening=whitening, cache=folder / "cache")


def test_axes_have_the_requested_variances() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5000, 4, generator=generator) * torch.tensor([8.0, 4.0, 2.0, 1.0]) + 3
    for whitening in (0.0, 0.5, 1.0):
        axes = fit_axes(features, [4], [1.0], 3, whitening)
        values = axes([features.view(1, 50, 100, 4).permute(0, 3, 1, 2)])
        spread = values.flatten(2).std(dim=2)[0]
        expected = torch.tensor([8.0, 4.0, 2.0]).pow(1 - whitening)
        torch.testing.assert_close(spread / spread[2], expected / expected[2], rtol=0.05, atol=0.0)
        assert values.mean(dim=(0, 2, 3)).abs().max() < 1e-3


def test_a_loud_teacher_does_not_crowd_out_another() -> None:
    generator = torch.Generator().manual_seed(0)
    quiet, loud = torch.randn(4000, 2, generator=generator), 1000 * torch.randn(4000, 2, generator=generator)
    axes = fit_axes(torch.cat([quiet, loud], dim=1), [2, 2], [1.0, 1.0], 4, 1.0)
    mapped = axes([quiet.T.view(1, 2, 40, 100), loud.T.view(1, 2, 40, 100)]).flatten(2)[0]
    torch.testing.assert_close(mapped.std(dim=1), torch.ones(4), rtol=0.05, atol=0.0)


def test_shares_are_ratios_of_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(4000, 2, generator=generator), 1000 * torch.randn(4000, 2, generator=generator)
    axes = fit_axes(torch.cat([one, two], dim=1), [2, 2], [1.0, 0.25], 4, 0.0)
    mapped = axes([one.T.view(1, 2, 40, 100), two.T.view(1, 2, 40, 100)]).flatten(2)[0]
    variances = mapped.var(dim=1)
    torch.testing.assert_close(variances[:2].sum() / variances[2:].sum(), torch.tensor(4.0), rtol=0.05, atol=0.0)


def test_too_few_places_are_refused() -> None:
    with pytest.raises(ConfigError, match="5 places in the pictures do not determine 8 axes"):
        fit_axes(torch.randn(5, 12), [12], [1.0], 8, 0.5)


def test_maps_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "pictures", 6)
    first = make(tmp_path)
    assert [tuple(level.shape) for level in first.levels] == [(6, 8, 2, 2), (6, 8, 4, 4)]
    assert first.levels[0].dtype == torch.float16
    files = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert len(files) == 7
    # A run that was stopped computes the missing map alone.
    next(file for file in files if file.parent.name != "cache").unlink()
    seen: list[object] = []
    original = module.joint_maps

    def counted(*args: object) -> object:
        seen.append(args)
        return original(*args)

    monkeypatch.setattr(module, "joint_maps", counted)
    again = make(tmp_path)
    assert len(seen) == 2
    assert all(torch.equal(a, b) for a, b in zip(first.levels, again.levels, strict=True))
    # Other settings have other names.
    make(tmp_path, whitening=0.0)
    assert len(seen) > 2


def test_pictures_come_from_stills_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    listed = write_pictures(tmp_path / "pictures", 3)
    (tmp_path / "pictures" / "01.png").write_bytes(b"not a picture")
    bank, skipped = read_pictures(read_clips(listed), per_clip=1, size=64)
    assert bank.pixels.shape == (2, 3, 64, 64)
    assert bank.sizes.tolist() == [[96, 128], [96, 128]]
    assert list(skipped) == ["01.png"]
    for path in (tmp_path / "pictures").glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the 3 clips could be read"):
        read_pictures(read_clips(listed), per_clip=1, size=64)
