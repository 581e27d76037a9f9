import numpy as np
import pytest
import torch

from endofm.errors import InputError
from endofm.transforms.affine import cut_frames, cut_masks, move_boxes, sampling_grid
from helpers.dotted_stills import disc_centre, dotted_still

IDENTITY = np.array([[[[1.0, 0, 0], [0, 1, 0]]]])


def turned(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[[[scale * cos, -scale * sin, shift[0]], [scale * sin, scale * cos, shift[1]]]]])


def test_identity_returns_the_image():
    image = torch.randint(0, 256, (1, 3, 20, 31), dtype=torch.uint8)
    frames = cut_frames(image, IDENTITY, (20, 31))
    assert frames.shape == (1, 1, 3, 20, 31)
    assert (frames[0, 0] - image[0]).abs().max() < 1e-3
    assert torch.equal(cut_masks(image[:, 0], IDENTITY, (20, 31))[0, 0], image[0, 0])


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (0, 2.0), (14, 1.3), (-30, 2.3), (5, 4.2), (0, 0.6)])
@pytest.mark.parametrize("size", [(256, 320), (251, 319)])
def test_pixels_masks_and_boxes_move_alike(degrees, scale, size):
    image, mask, box = dotted_still(*size, (150.0, 120.0), 36)
    matrix = turned(degrees, scale, (150 - 30 * scale, 120 - 28 * scale))
    # Where the centre of the disc lies in the frame, by the inverse of the map.
    linear = matrix[0, 0, :, :2]
    expected = np.linalg.solve(linear, np.array([150.0, 120.0]) - matrix[0, 0, :, 2])
    frame = (120, 120)
    pixels = cut_frames(torch.from_numpy(image).permute(2, 0, 1)[None], matrix, frame)[0, 0, 0]
    labels = cut_masks(torch.from_numpy(mask)[None], matrix, frame)[0, 0]
    boxes, inside = move_boxes([box], matrix[0], frame)
    if inside[0, 0] == 1:
        assert np.abs(disc_centre(pixels, above=140) - expected).max() < 0.5
        assert np.abs(disc_centre(labels, above=127) - expected).max() < 0.5
        middle = boxes[0, 0].reshape(2, 2).mean(0)
        assert np.abs(middle - expected).max() < 0.5
    if degrees == 0:
        y, x = np.nonzero(labels.numpy())
        seen = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
        assert np.abs(boxes[0, 0] - seen).max() <= 0.5 + 0.5 / scale


def test_frames_of_resized_images_show_the_same_part():
    image, _, _ = dotted_still(200, 320, (200.0, 90.0), 30)
    square = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].float(), (256, 256), mode="bilinear", antialias=True
    )
    matrix = turned(10, 1.5, (110, 20))
    direct = cut_frames(torch.from_numpy(image).permute(2, 0, 1)[None], matrix, (96, 96))[0, 0, 0]
    resized = cut_frames(square.to(torch.uint8), matrix, (96, 96), sizes=[(200, 320)])[0, 0, 0]
    assert np.abs(disc_centre(direct, above=140) - disc_centre(resized, above=140)).max() < 0.5


def test_coarse_frames_average_the_image():
    # Lines of one pixel: sampled without an average they would alias to full contrast.
    stripes = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    stripes[..., ::2] = 200
    frames = cut_frames(stripes, turned(0, 4.0, (0.3, 0.0)), (64, 64))
    assert (frames - 100).abs().max() < 1


def test_levels_do_not_depend_on_the_dtype():
    image = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    matrices = np.concatenate([turned(8, 4.2, (3.0, -5.0)), turned(0, 1.0, (3.0, 5.0))])
    assert torch.allclose(
        cut_frames(image, matrices, (12, 12)), cut_frames(image.float(), matrices, (12, 12)), atol=1e-3
    )


def test_a_box_outside_the_frame_has_no_part_inside():
    boxes, inside = move_boxes([[0, 0, 10, 10], [20, 20, 40, 40]], turned(0, 1.0, (30, 30))[0], (32, 32))
    assert inside.tolist() == [[0.0, 0.25]]
    assert boxes[0, 1].tolist() == [0, 0, 10, 10]


def test_grid_spans_the_image():
    grid = sampling_grid(IDENTITY * 2, [(20, 20)], (10, 10))
    assert grid.shape == (1, 10, 10, 2)
    assert torch.allclose(grid[0, 0, :, 0], torch.linspace(-0.9, 0.9, 10))


def test_images_and_maps_must_match():
    with pytest.raises(InputError, match="2 images need maps"):
        cut_frames(torch.zeros(2, 3, 8, 8), IDENTITY, (8, 8))
