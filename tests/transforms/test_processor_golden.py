"""Preprocessing against stored results of the published code (tests/golden/preprocess.npz), and its invariants."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.config import PreprocessConfig
from endofm.errors import InputError
from endofm.transforms.geometry import Box, crop_corner, resized_shape
from endofm.transforms.processor import Processor, normalize, resize
from endofm.transforms.training_view import TrainingView, training_clip
from helpers import paths
from helpers.golden_fill import uint8_clip

GOLDEN = np.load(paths.GOLDEN / "preprocess.npz")
TRAINING_DRAWS = json.loads((paths.GOLDEN / "preprocess_meta.json").read_text())["train"]
SHAPES = {"land": (8, 240, 320, 3), "port": (8, 300, 260, 3), "square": (8, 224, 224, 3), "up": (8, 120, 161, 3)}
GREY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
# Ours resizes before it normalises, the published code after; both round to float32. Measured: 6e-7.
TOLERANCE = 1e-6


def check(clip: torch.Tensor, name: str) -> None:
    assert list(clip.shape) == GOLDEN[f"{name}/shape"].tolist()
    values = clip.numpy()
    np.testing.assert_allclose(values[:, ::3, ::9, ::9], GOLDEN[f"{name}/sub"], rtol=0, atol=TOLERANCE)
    exact = values.astype(np.float64)
    stats = [exact.mean(), exact.std(), exact.min(), exact.max(), np.abs(exact).sum()]
    np.testing.assert_allclose(stats, GOLDEN[f"{name}/stats"], rtol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_published_evaluation(name: str) -> None:
    config = PreprocessConfig(short_side=224, crop="published", **GREY)
    check(Processor(config)(uint8_clip(name, SHAPES[name])), f"val_{name}")


@pytest.mark.parametrize("name", ["land", "port"])
def test_centre_crop(name: str) -> None:
    check(Processor(PreprocessConfig(**GREY))(uint8_clip(name, SHAPES[name])), f"center256_{name}")


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("name", ["land", "port"])
def test_the_three_crops(name: str, position: int) -> None:
    frames = uint8_clip(name, SHAPES[name])
    shape = resized_shape(*frames.shape[1:3], 224)
    window = Box(*crop_corner(*shape, 224, position), 224, 224)  # type: ignore[arg-type]
    crop = normalize(resize(frames, shape, window), GREY["mean"], GREY["std"])
    check(crop.permute(3, 0, 1, 2), f"test_{name}_{position}")


class RecordedDraws:
    """Returns the recorded draws of the published code, and checks that they are requested in the same order."""

    def __init__(self, draws: list[list[object]]) -> None:
        self._draws = iter(draws)

    def uniform(self, low: float | None = None, high: float | None = None) -> object:
        name, *limits, value = next(self._draws)
        assert (name, limits) == ("uniform", [] if low is None else [low, high])
        return value

    def integers(self, low: int, high: int) -> object:
        draw = next(self._draws)
        assert draw[:-1] == ["randint", low, high]
        return draw[-1]

    def used_up(self) -> bool:
        return next(self._draws, None) is None


@pytest.mark.parametrize("name", ["land", "port", "square"])
def test_random_training_view(name: str) -> None:
    frames, draws = uint8_clip(name, SHAPES[name]), RecordedDraws(TRAINING_DRAWS[name])
    view = TrainingView.draw(*frames.shape[1:3], draws)  # type: ignore[arg-type]
    assert draws.used_up()
    check(training_clip(frames, view, PreprocessConfig(**GREY)), f"train_{name}")


@given(height=st.integers(16, 400), width=st.integers(16, 400), seed=st.integers(0, 999))
def test_training_views_fit(height: int, width: int, seed: int) -> None:
    view = TrainingView.draw(height, width, np.random.default_rng(seed))
    rows, columns = resized_shape(height, width, view.short_side)
    assert 256 <= view.short_side <= 320
    assert 0 <= view.top <= rows - 224
    assert 0 <= view.left <= columns - 224


def test_mirrored_view() -> None:
    frames = uint8_clip("up", SHAPES["up"])
    config = PreprocessConfig()
    plain = training_clip(frames, TrainingView(260, 7, 11, False), config)
    assert torch.equal(training_clip(frames, TrainingView(260, 7, 11, True), config), plain.flip(-1))


@settings(max_examples=30, deadline=None)
@given(height=st.integers(16, 90), width=st.integers(16, 90), published=st.booleans(), seed=st.integers(0, 99))
def test_a_frame_alone_is_the_frame_of_the_clip(height: int, width: int, published: bool, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    processor = Processor(PreprocessConfig(short_side=32, crop_size=28, crop="published" if published else "center"))
    clip = processor(frames)
    assert torch.equal(clip[:, 1], processor.prepare_frame(frames[1]))
    assert torch.equal(clip, processor(torch.from_numpy(frames)))
    # The reference order of torch: normalise the whole float frame, then interpolate it.
    whole = torch.from_numpy(frames).float().permute(0, 3, 1, 2)
    height, width = processor.geometry(height, width).resized
    whole = torch.nn.functional.interpolate(whole, (height, width), mode="bilinear", align_corners=False)
    top, left = crop_corner(height, width, 28, 0 if published else 1)
    crop = whole[..., top : top + 28, left : left + 28].permute(0, 2, 3, 1)
    expected = normalize(crop, processor.config.mean, processor.config.std).permute(3, 0, 1, 2)
    torch.testing.assert_close(clip, expected, atol=1e-4, rtol=0)  # float32 coordinates


def test_a_known_square_is_found_again() -> None:
    frames = np.zeros((1, 300, 500, 3), np.uint8)
    frames[:, 100:160, 220:300] = 255
    box = Box(20, 60, 260, 400)
    processor = Processor(PreprocessConfig(short_side=120, crop_size=112))
    geometry = processor.geometry(300, 500, box)
    bright = processor(frames, box)[0, 0].numpy() > 0
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    found = geometry.to_source([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    np.testing.assert_allclose(found, [220, 100, 300, 160], atol=geometry.scale.max())
    np.testing.assert_allclose(geometry.to_clip(geometry.to_source([[3.0, 7.5]])), [[3.0, 7.5]])
    back = geometry.mask_to_source(bright.astype(np.uint8))
    truth = frames[0, ..., 0] > 0
    overlap = (truth & (back > 0)).sum() / (truth | (back > 0)).sum()
    assert overlap > 0.93


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((8, 40, 40, 3), np.float32), "uint8"),
        (np.zeros((40, 40, 3), np.uint8), "time, height, width, 3"),
        (np.zeros((8, 3, 40, 40), np.uint8), r"\(8, 3, 40, 40\)"),
        (np.zeros((8, 8, 40, 3), np.uint8), "at least 16"),
        (np.zeros((0, 40, 40, 3), np.uint8), "expected RGB frames"),
        ("clip.mp4", "got str"),
    ],
)
def test_wrong_frames_are_refused(frames: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Processor(PreprocessConfig())(frames)  # type: ignore[arg-type]


def test_boxes_and_crops_that_do_not_fit_are_refused() -> None:
    processor = Processor(PreprocessConfig())
    with pytest.raises(InputError, match="does not lie within the frame of 40 x 50"):
        processor(np.zeros((1, 40, 50, 3), np.uint8), Box(0, 20, 40, 31))
    with pytest.raises(InputError, match="height, width >= 1"):
        Box(0, 0, 0, 5)
    with pytest.raises(InputError, match="does not fit"):
        crop_corner(20, 40, 21, 1)
    with pytest.raises(InputError, match="expected a mask"):
        processor.geometry(40, 50).mask_to_source(np.zeros((8, 8)))


def test_a_box_is_the_same_as_frames_cut_before() -> None:
    frames, box = uint8_clip("land", SHAPES["land"]), Box(13, 41, 190, 201)
    processor = Processor(PreprocessConfig())
    cut = frames[:, box.top : box.bottom, box.left : box.right]
    assert torch.equal(processor(frames, box), processor(cut))


def test_frames_that_torch_cannot_share() -> None:
    frames = uint8_clip("up", SHAPES["up"])
    processor = Processor(PreprocessConfig())
    expected = processor(frames[:, :, ::-1].copy())
    fixed = frames.copy()
    fixed.setflags(write=False)
    assert torch.equal(processor(frames[:, :, ::-1]), expected)
    assert torch.equal(processor(fixed), processor(frames))


def test_field_of_view_only_when_asked_for() -> None:
    frames = np.zeros((4, 120, 160, 3), np.uint8)
    frames[:, 20:100, 30:130] = uint8_clip("view", (4, 80, 100, 3))
    assert Processor(PreprocessConfig()).find_field_of_view(frames) is None
    found = Processor(PreprocessConfig(field_of_view=True)).find_field_of_view(frames)
    assert found == Box(20, 30, 80, 100)


def test_description_in_words() -> None:
    published = Processor(PreprocessConfig(short_side=224, crop="published", **GREY)).describe()
    assert "224 x 224 pixels from the left" in published
    assert "mean 0.45 0.45 0.45, std 0.225 0.225 0.225" in published
    sound = Processor(PreprocessConfig(field_of_view=True)).describe()
    assert "shorter side to 256" in sound
    assert "without borders" in sound
