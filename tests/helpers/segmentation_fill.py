"""Weights and inputs of the segmentation goldens; ``golden_fill`` with what the segmentation model adds.

The golden file tests/golden/segmentation.npz was made by med-air/Endo-FM at 206427e from exactly these arrays.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers.golden_fill import param

SIDE = 224
FRAMES = 4


def generator(key: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=zlib.crc32(key.encode())))


def segmentation_param(name: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    """Return a tensor of the segmentation model by its published name."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(tuple(shape), np.int64)
    if name.endswith("running_var"):
        return (1 + 0.2 * np.abs(generator(name).standard_normal(tuple(shape)))).astype(np.float32)
    if name.endswith("position_embeddings"):
        return (0.3 * generator(name).standard_normal(tuple(shape))).astype(np.float32)
    return param(name, shape)


def segmentation_params(shapes: Mapping[str, Sequence[int]]) -> dict[str, npt.NDArray[Any]]:
    return {name: segmentation_param(name, shape) for name, shape in shapes.items()}


def clip(frames: int = FRAMES) -> npt.NDArray[np.float32]:
    """Blocks of colour with noise, ``(frames, 3, 224, 224)``; a shorter clip is the beginning of a longer one."""
    draws = generator("segmentation/clip")
    coarse = draws.standard_normal((FRAMES, 3, 14, 14), dtype=np.float32)
    fine = draws.standard_normal((FRAMES, 3, SIDE, SIDE), dtype=np.float32)
    blocks = np.kron(coarse, np.ones((16, 16), np.float32))
    return np.ascontiguousarray((blocks + np.float32(0.3) * fine)[:frames])


def clip_labels() -> npt.NDArray[np.int64]:
    """A disc of radius 40 that moves by 12 rows and 10 columns per frame, ``(4, 224, 224)``."""
    y, x = np.ogrid[:SIDE, :SIDE]
    discs = [(y - 80 - 12 * t) ** 2 + (x - 90 - 10 * t) ** 2 <= 1600 for t in range(FRAMES)]
    return np.stack(discs).astype(np.int64)


LOSS_CASES = ("mixed", "empty", "full", "confident")


def loss_case(name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return logits ``(4, 2, 32, 32)`` and labels ``(4, 32, 32)``."""
    draws = generator(f"segmentation/loss/{name}")
    logits = np.float32(2) * draws.standard_normal((4, 2, 32, 32), dtype=np.float32)
    labels = (draws.standard_normal((4, 32, 32), dtype=np.float32) > 0.5).astype(np.int64)
    if name in ("empty", "full"):
        labels[:] = int(name == "full")
    if name == "confident":
        foreground = np.where(labels == 1, 8, -8)
        logits = np.stack([-foreground, foreground], axis=1).astype(np.float32)
    return logits, labels


METRIC_CASES = (
    "both_empty",
    "pred_empty",
    "label_empty",
    "normal",
    "identical",
    "disjoint",
    "one_voxel_each",
    "label_in_one_frame",
    "touching_border",
    "single_frame",
)

BoolArray = npt.NDArray[np.bool_]


def _ball(frames: int, centre: tuple[int, int, int], radius: float) -> BoolArray:
    t, y, x = np.ogrid[:frames, :48, :48]
    inside: BoolArray = (t - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
    return inside


def metric_case(name: str) -> tuple[BoolArray, BoolArray]:
    """Return predicted and true foreground, ``(frames, 48, 48)``."""
    if name == "single_frame":
        return _ball(1, (0, 20, 20), 12), _ball(1, (0, 24, 23), 10)
    a, b, none = _ball(5, (2, 20, 20), 12), _ball(5, (2, 24, 23), 10), np.zeros((5, 48, 48), np.bool_)
    one, other, middle, corner, larger = (none.copy() for _ in range(5))
    one[1, 10, 10] = other[3, 13, 14] = True
    middle[2] = b[2]
    corner[:, :10, :10] = larger[:, :16, :12] = True
    noise = generator("segmentation/metric/normal").standard_normal(none.shape, dtype=np.float32) > 3
    return {
        "both_empty": (none, none),
        "pred_empty": (none, a),
        "label_empty": (a, none),
        "normal": (a | noise, b),
        "identical": (a, a),
        "disjoint": (_ball(5, (0, 6, 6), 4), _ball(5, (4, 40, 40), 5)),
        "one_voxel_each": (one, other),
        "label_in_one_frame": (a, middle),
        "touching_border": (corner, larger),
    }[name]


def frame_files(index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return an image ``(288, 384, 3)`` with a red cast and its mask: 255 in a disc, 128 on a ring around it."""
    draws = generator(f"segmentation/frame/{index}")
    coarse = draws.random((9, 12, 3), dtype=np.float32).repeat(32, axis=0).repeat(32, axis=1)
    fine = draws.random((288, 384, 3), dtype=np.float32)
    values = (40 + 160 * (0.75 * coarse + 0.25 * fine)) * np.array([1.0, 0.8, 0.6], np.float32)
    y, x = np.ogrid[:288, :384]
    distance = np.sqrt((y - 140.0) ** 2 + (x - (150.0 + 5 * (index % 10))) ** 2)
    mask = np.select([distance <= 60, distance <= 64], [255, 128], 0).astype(np.uint8)
    return np.floor(values).astype(np.uint8), mask


def sample(values: npt.NDArray[Any], count: int = 1024) -> npt.NDArray[Any]:
    """Return the values that a golden array keeps of a large one: evenly spaced in C order."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.size <= count:
        return flat
    return flat[np.arange(count) * (flat.size - 1) // (count - 1)]


def self_check() -> None:
    """Raise AssertionError if these are not the arrays that the golden file was made from."""
    block = segmentation_param("transformer.encoder.layer.0.attn.qkv.weight", (2304, 768)).ravel()[:3]
    np.testing.assert_allclose(block, [0.0068212715, -0.0160360020, 0.0001983553], rtol=0, atol=1e-8)
    table = segmentation_param("transformer.embeddings.position_embeddings", (1, 196, 768)).ravel()[:3]
    np.testing.assert_allclose(table, [0.3674492, 0.2849749, 0.3046205], rtol=0, atol=1e-6)
    np.testing.assert_allclose(clip().ravel()[:3], [0.3419745, 0.5103825, 0.6661999], rtol=0, atol=1e-6)
    assert frame_files(200)[0].ravel()[:6].tolist() == [115, 85, 68, 107, 94, 56]
