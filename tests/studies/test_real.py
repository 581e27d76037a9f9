"""Probes on real images, run on made ones in the same folders."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import paths
from helpers.dotted_stills import dotted_still
from studies.real.frozen import ColourHistogram, Thumbnail, cached, make_frozen
from studies.real.probe_sets import COVERED, PROBES, capsule_bleeding, crop_pairs, polyp_crops, polyp_patches
from studies.real.scores import score


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in the folders of the real ones: bright discs are polyps, red frames bleed."""
    out = tmp_path_factory.mktemp("real")
    generator = np.random.default_rng(0)
    (out / "kvasir_seg/images").mkdir(parents=True)
    (out / "kvasir_seg/masks").mkdir()
    lines = ["image,split,width,height,near_duplicate_in_another_split"]
    for number in range(24):
        image, mask, _ = dotted_still(220, 260, (70 + 3.0 * number, 80), 34)
        # Background as bright as the polyp, of another colour.
        image = np.where(mask[..., None] > 0, (200, 60, 60), (90, 120, 110)) + generator.integers(-9, 9, image.shape)
        Image.fromarray(image.astype(np.uint8)).save(out / f"kvasir_seg/images/{number}.png")
        Image.fromarray(mask).save(out / f"kvasir_seg/masks/{number}.png")
        lines.append(f"{number}.png,{'val' if number % 3 == 0 else 'train'},260,220,{int(number == 3)}")
    (out / "kvasir_seg/splits.csv").write_text("\n".join(lines) + "\n")
    lines = ["image,class,split,run,run_length,number,group"]
    for number in range(40):
        kind = "bleeding" if number % 2 else "nonbleeding"
        (out / "wce" / kind).mkdir(parents=True, exist_ok=True)
        frame = np.full((64, 64, 3), (150 if number % 2 else 90, 90, 60), np.int64) + generator.integers(
            -30, 30, (64, 64, 3)
        )
        Image.fromarray(frame.astype(np.uint8)).save(out / "wce" / kind / f"{number}.png")
        lines.append(
            f"{kind}/{number}.png,{kind},{'val' if number >= 28 else 'train'},0,1,{number},{number // 2}-{number % 2}"
        )
    (out / "wce/index.csv").write_text("\n".join(lines) + "\n")
    (out / "laparoscopy").mkdir()
    for number in range(9):
        frame = np.full((48, 64, 3), (60 + 60 * (number // 3), 80, 90), np.uint8)
        Image.fromarray(frame + generator.integers(0, 9, frame.shape, np.uint8)).save(
            out / "laparoscopy" / f"{number // 3:05}-7-frame-{number}.jpg"
        )
    for sequence in (5, 6):
        for kind in ("images", "labels"):
            (out / "vocalfolds" / kind / f"patient2/seq{sequence}").mkdir(parents=True)
        for number in range(6):
            labels = np.zeros((96, 96), np.uint8)
            labels[:, :32], labels[:, 32:64], labels[:, 64:] = 1, 2, 3
            frame = np.stack([labels * 70 + 30] * 3, -1) + generator.integers(0, 9, (96, 96, 3))
            name = f"patient2/seq{sequence}/{number:04}"
            Image.fromarray(frame.astype(np.uint8)).save(out / "vocalfolds/images" / f"{name}.jpg")
            Image.fromarray(labels).save(out / "vocalfolds/labels" / f"{name}.png")
    return out


def test_crops_of_a_pair_are_alike_but_for_the_polyp(root: Path) -> None:
    probe = polyp_crops(root)
    assert len(probe.pictures) > 40
    # The near-duplicate of a picture of the other part is left out.
    assert "3.png" not in probe.groups
    assert set(np.array(probe.groups)[probe.test]).isdisjoint(np.array(probe.groups)[~probe.test])
    for polyp, background in zip(probe.pictures[::2], probe.pictures[1::2], strict=True):
        assert polyp.shape == background.shape
        assert 64 <= polyp.shape[0] <= 120
        assert abs(polyp.mean() / background.mean() - 1) < 0.25
        red = polyp[..., 0] > 150
        assert red.mean() >= COVERED - 0.02
        assert (background[..., 0] > 150).mean() <= 0.03


def test_a_polyp_without_comparable_background_has_no_pair() -> None:
    image, mask, _ = dotted_still(120, 120, (60, 60), 58)
    assert crop_pairs(image, mask > 0, "x") == []
    assert crop_pairs(image, np.zeros((120, 120), bool), "x") == []


def test_patches_are_labelled_by_what_fills_most_of_them(root: Path) -> None:
    probe = polyp_patches(root)
    first = probe.labels[0]
    # The disc of the first picture: centre (70, 80) of 260 x 220 pixels, radius 34.
    assert first[2, 1] == 1
    assert first[0, 0] == first[5, 5] == 0
    assert 1 <= first.sum() <= 6


def test_easy_probes_are_solved_and_random_embeddings_are_not(root: Path) -> None:
    for name, make in PROBES.items():
        probe = make(root)
        control = ColourHistogram()
        found = control.patches(probe.pictures) if probe.patches else control.embed(probe.pictures)
        good = score(probe, found, 20)
        # AUROC of nearest neighbours, and for retrieval the first neighbour.
        assert all(interval.value > 0.95 for interval in good.values()), name
        noise = np.random.default_rng(1).normal(size=found.shape).astype(np.float32)
        assert all(interval.value < 0.8 for interval in score(probe, noise, 0).values()), name


def test_cross_validation_scores_every_frame(root: Path) -> None:
    assert capsule_bleeding(root).test.sum() == 12
    assert PROBES["bleeding-folds"](root).test.all()


def test_embeddings_are_kept(root: Path, tmp_path: Path) -> None:
    pictures = capsule_bleeding(root).pictures[:5]
    first = cached(Thumbnail(), pictures, patches=False, cache=tmp_path)
    (file,) = tmp_path.glob("*.npy")
    np.save(file, np.zeros((5, 2), np.float32))
    assert not cached(Thumbnail(), pictures, patches=False, cache=tmp_path).any()
    assert first.shape == (5, 192)
    # Other pictures are embedded again.
    assert cached(Thumbnail(), pictures[:4], patches=False, cache=tmp_path).shape == (4, 192)


def test_untrained_encoders_have_seeds_of_their_own(root: Path) -> None:
    pictures = capsule_bleeding(root).pictures[:3]
    trained, zero, again, one = (
        make_frozen(spec, frames=1).embed(pictures)
        for spec in ("endofm-nano-4x96", *(f"untrained:endofm-nano-4x96{seed}" for seed in ("", ":0", ":1")))
    )
    assert trained.shape == zero.shape == (3, 192)
    assert np.array_equal(zero, again)
    assert not np.allclose(zero, one)
    assert not np.allclose(zero, trained)
    assert make_frozen("endofm-nano-4x96", frames=1).patches(pictures).shape == (3, 6, 6, 192)


def test_command(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "probes.json"
    command = [sys.executable, "-m", "studies.real", "endofm-nano-4x96", "--controls", "histogram", "thumbnail"]
    options = ["--root", str(root), "--probes", "bleeding", "polyp-patch", "--frames", "1", "--resamples", "10"]
    done = subprocess.run(
        [*command, *options, "-o", str(out), "--cache", str(tmp_path / "kept")],
        cwd=paths.REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())["probes"]
    assert set(results) == {"endofm-nano-4x96", "histogram", "thumbnail"}
    assert set(results["thumbnail"]) == {"bleeding"}
    assert results["histogram"]["bleeding"]["k-NN"]["value"] > 0.9
    assert "| encoder | bleeding k-NN | bleeding linear | polyp-patch linear |" in done.stdout
    missing = subprocess.run([*command, "--root", "nowhere"], cwd=paths.REPOSITORY, capture_output=True, text=True)
    assert missing.returncode == 1
    assert "ENDOFM_REAL" in missing.stderr
