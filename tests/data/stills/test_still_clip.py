import numpy as np
import pytest

from endofm.data.stills.still_clip import mask_regions, still_clip
from endofm.data.stills.virtual_camera import CameraConfig, CameraDraw
from helpers.dotted_stills import disc_centre, dotted_still


def drawn(config: CameraConfig, seed: int = 0) -> CameraDraw:
    return CameraDraw.draw(config, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(4))
def test_masks_and_boxes_follow_the_pixels(seed: int) -> None:
    config = CameraConfig(num_frames=8, size=128, zoom=(0.7, 1.0), rotation=25, motion=1.0, gain=0.0)
    image, mask, _ = dotted_still(256, 300, (150.0, 128.0), 20)
    clip = still_clip(drawn(config, seed), config, image)
    masks = clip.masks(mask)
    boxes, kept = clip.region_boxes(*mask_regions(mask))
    assert masks.dtype == np.uint8
    compared = 0
    for time in range(8):
        y, x = np.nonzero(masks[time])
        if not len(x) or min(x.min(), y.min()) == 0 or max(x.max(), y.max()) == 127:
            continue
        compared += 1
        pixels = disc_centre(clip.frames[time, ..., 0], above=140)
        assert np.abs(pixels - disc_centre(masks[time], above=127)).max() < 0.5
        assert np.abs(pixels - boxes[time, 0].reshape(2, 2).mean(0)).max() < 0.75
        assert kept[time, 0]
        seen = np.nonzero(clip.frames[time, ..., 0] > 140)
        assert np.abs(boxes[time, 0] - [seen[1].min(), seen[0].min(), seen[1].max() + 1, seen[0].max() + 1]).max() <= 1
    assert compared > 3


def test_boxes_of_a_camera_that_does_not_turn_are_exact() -> None:
    config = CameraConfig(num_frames=6, size=128, motion=1.0).without_turns()
    image, mask, box = dotted_still(256, 300, (150.0, 128.0), 30)
    clip = still_clip(drawn(config, 2), config, image)
    moved, kept = clip.boxes([box])
    regions, _ = clip.region_boxes(*mask_regions(mask))
    assert kept.all()
    assert np.abs(moved - regions).max() <= 0.5


def test_an_object_that_leaves_the_frame_is_dropped() -> None:
    config = CameraConfig(num_frames=1, size=64, zoom=(0.3, 0.3), rotation=0)
    image, mask, box = dotted_still(200, 200, (190.0, 190.0), 8)
    away = CameraDraw(np.array([[-1.0, -1.0, 0.3, 0.0, 1.0]] * 3), flip=False)
    clip = still_clip(away, config, image)
    assert not clip.boxes([box])[1].any()
    assert not clip.region_boxes(*mask_regions(mask))[1].any()


def test_regions_are_separated_and_specks_dropped() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[20:60, 30:90] = 255
    mask[200:230, 300:390] = 200
    mask[150, 150] = 255
    mask[280:290, 10:60] = 90  # below the threshold: an edge that JPEG smeared
    regions, count = mask_regions(mask)
    assert count == 2
    assert sorted(np.bincount(regions.ravel()).tolist()) == [2400, 2700, 300 * 400 - 5100]
    assert mask_regions((mask > 127).astype(np.uint8))[1] == 2
    assert mask_regions(np.zeros((8, 8), np.uint8))[1] == 0


def test_a_described_path_is_the_path() -> None:
    draw = drawn(CameraConfig(flip=0.5), 9)
    again = CameraDraw.from_description(draw.describe())
    assert np.array_equal(again.poses, draw.poses)
    assert again.flip == draw.flip
    assert "virtual camera over a still" in draw.describe()
