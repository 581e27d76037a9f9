"""Training samples of a detector: supports, boxes, flips and padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from endofm.config import PreprocessConfig
from endofm.data.detection.detection_set import DetectionSet, LabelledFrame, LabelledVideo
from endofm.data.detection.open_set import open_detection_set
from endofm.data.detection.samples import DetectionBatch, DetectionSamples, SampleTask
from endofm.data.loader import ClipLoader
from endofm.data.stills.labelled_stills import boxed_stills
from endofm.data.stills.virtual_camera import CameraConfig
from endofm.errors import InputError
from endofm.tasks.detection.layout import published_preprocess
from helpers import detection_fill as fill
from helpers.boxed_sets import wandering, write_original
from helpers.golden_fill import uint8_clip
from helpers.made_stills import write_coco

LABELS = ("adenomatous", "hyperplastic")


VIDEOS = {"a": wandering(6), "b": wandering(4, name="hyperplastic", shift=20)}


def read(root: Path, split: str = "train", **options: Any) -> DetectionSet:
    return open_detection_set(root, split, labels=LABELS, progress=False, **options)


def test_published_transform_with_and_without_the_flip(tmp_path: Path) -> None:
    goldens = fill.Goldens()
    path = tmp_path / "1.png"
    Image.fromarray(uint8_clip("detection/picture", (1, 96, 120, 3))[0]).save(path)
    boxes = np.array(fill.PICTURE_BOXES, np.float32)
    frame = LabelledFrame(path, 1, 120, 96, boxes, np.array([0, 1]), np.array([-1, -1]))
    video = LabelledVideo("v", "v", 30.0, (frame,))
    samples = DetectionSamples(
        DetectionSet("s", LABELS, (video,)),
        published_preprocess(),
        order="target-first",
        last_pixel_inside=True,
    )
    for flipped in (False, True):
        sample = samples.sample(video, (0, 0, 0, 0), flipped=flipped)
        name = f"transform/flip{int(flipped)}"
        goldens.check(name, sample.pixels[:, 0], 1.0 / goldens.index[name]["stat"][2])
        np.testing.assert_allclose(sample.boxes, goldens[f"{name}/boxes"], atol=1e-3)
        assert sample.labels.tolist() == [1, 2]


def samples_of(root: Path, **options: Any) -> DetectionSamples:
    write_original(root, VIDEOS)
    return DetectionSamples(read(root), PreprocessConfig.fitted_frame(64), **options)


def test_boxes_follow_the_pixels(tmp_path: Path) -> None:
    """A box, scaled and flipped with its frame, surrounds what is bright there."""
    samples = samples_of(tmp_path, flip=0.5, supports=2)
    flips = 0
    for task in samples.tasks(shuffle=False, rank=0, world_size=1, skip=0):
        sample = samples.read(task).frames
        flipped = samples_of(tmp_path, flip=0.0).read(task).frames
        flips += not torch.equal(sample.pixels, flipped.pixels)
        target = sample.pixels[:, sample.target]
        for box in sample.boxes.round().int().tolist():
            inside = target[:, box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1].amax(0)
            around = torch.cat(
                [target[:, :, max(box[0] - 3, 0) : max(box[0] - 2, 0)].flatten(), inside.new_tensor([-9.0])]
            )
            assert inside.min() > 1.0
            assert around.max() < 1.0
    assert 0 < flips < len(samples)


def test_supports_and_orders(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, supports=4, reach=3, order="time")
    draws = np.random.default_rng(0)
    for frame in range(10):
        place, *places = samples.select(frame, 10, draws)
        assert places == sorted(places)
        assert places[place] == frame
        assert all(abs(p - frame) <= 3 for p in places)
    first = samples_of(tmp_path, supports=2, order="target-first")
    place, *places = first.select(5, 10, draws)
    assert (place, places[0]) == (0, 5)
    assert places[1] < 5 < places[2]
    assert first.select(0, 1, draws) == (0, 0, 0, 0)


def test_an_epoch_is_the_same_whoever_reads_it(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, seed=5)

    def epoch(number: int, workers: int, start: int = 0) -> list[DetectionBatch]:
        loader = ClipLoader(samples, 2, num_workers=workers)
        loader.set_epoch(number, start)
        return [batch.frames for batch in loader]

    one, two = epoch(1, 0), epoch(1, 2)
    assert len(one) == 5
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.clips, b.clips)
        assert all(torch.equal(x, y) for x, y in zip(a.boxes, b.boxes, strict=True))
    resumed = epoch(1, 0, start=3)
    assert torch.equal(resumed[0].clips, one[3].clips)
    assert not torch.equal(epoch(2, 0)[0].clips, one[0].clips)


def test_negatives_and_steps_choose_targets(tmp_path: Path) -> None:
    assert len(samples_of(tmp_path)) == 10
    assert len(samples_of(tmp_path, negatives=False)) == 7
    assert len(samples_of(tmp_path, every=3)) == 4
    write_original(tmp_path / "none", {"x": [[], []]})
    empty = open_detection_set(tmp_path / "none", "train", labels=LABELS, progress=False)
    with pytest.raises(InputError, match="no frame with a box"):
        DetectionSamples(empty, PreprocessConfig.fitted_frame(64), negatives=False)


def test_frames_of_different_shapes_are_padded_to_one_batch(tmp_path: Path) -> None:
    write_original(tmp_path / "wide", {"x": wandering(2)}, size=(96, 60))
    write_original(tmp_path / "tall", {"x": wandering(2)}, size=(60, 96))
    both = [
        DetectionSamples(read(tmp_path / name), PreprocessConfig.fitted_frame(96)).read(SampleTask(0, 0, 0)).frames
        for name in ("wide", "tall")
    ]
    batch = type(both[0]).collate(both)
    assert batch.clips.shape == (2, 3, 3, 96, 96)
    assert torch.equal(batch.clips[0, :, :, :64], both[0].pixels)
    assert (batch.clips[0, :, :, 64:] == 0).all()


def test_a_still_is_target_and_supports_under_the_camera(tmp_path: Path) -> None:
    data = boxed_stills(str(write_coco(tmp_path)), "train")
    camera = CameraConfig(size=96, motion=1.0, rotation=20, zoom=(0.8, 1.0))
    samples = DetectionSamples(data, PreprocessConfig.fitted_frame(64), camera=camera, flip=0.5)
    compared = 0
    for index in range(4):
        for epoch in range(6):
            sample = samples.read(SampleTask(index, 0, epoch)).frames  # type: ignore[union-attr]
            assert sample.pixels.shape == (3, 3, 64, 64)
            assert not torch.equal(sample.pixels[:, 0], sample.pixels[:, 2])
            bright = sample.pixels[0, sample.target] > 0.2
            seen = torch.nonzero(bright).float()
            if not len(seen) or not len(sample.boxes):
                continue
            low, high = seen.min(0).values.flip(0), seen.max(0).values.flip(0) + 1
            if low.min() > 0 and high.max() < 64:
                compared += 1
                assert (sample.boxes[0] - torch.cat([low, high])).abs().max() <= 1.5
    assert compared > 8
