"""Weights and inputs of the detector's golden tests, drawn from their names so that none has to be stored.

The streams and the rule for weights are those of :mod:`golden_fill`; this module adds the entries that only the
detector has. The arrays in ``tests/golden/detection.npz`` were made from exactly these numbers.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from helpers.golden_fill import param
from helpers.paths import GOLDEN

Float32Array = npt.NDArray[np.float32]

STRIDES = (8, 16, 32, 64, 128)
LEVELS = ("p3", "p4", "p5", "p6", "p7")

# Neck and head alone, on the features of an image of 128 x 160.
SMALL_SIZE = (128, 160)
SMALL_LEVELS = ((16, 20), (8, 10), (4, 5), (2, 3), (1, 2))

# Objects of the loss of the full model, in pixels of its 224 x 320 input.
FULL_BOXES = ((40.0, 30.0, 130.0, 120.0), (150.0, 60.0, 300.0, 210.0), (5.0, 5.0, 310.0, 215.0))
FULL_LABELS = (1, 2, 1)

ASSIGNMENT_CASES: dict[str, tuple[list[list[float]], list[int]]] = {
    "two": ([[20, 16, 84, 72], [90, 40, 150, 120]], [1, 2]),
    "nested": ([[10, 8, 140, 118], [48, 40, 96, 80]], [2, 1]),
    "small": ([[33, 45, 42, 52]], [1]),
    "between_cells": ([[29, 29, 31, 31]], [2]),
    "full": ([[0, 0, 159, 127]], [1]),
    "same_box_two_labels": ([[24, 24, 104, 88], [24, 24, 104, 88]], [2, 1]),
}

# Per frame: labels of the objects in it, and scores of what was detected.
METRIC_FRAMES: list[tuple[list[int], list[float]]] = [
    ([1], [0.9]),
    ([2], [0.5]),
    ([1], [0.499]),
    ([2], []),
    ([1, 2], [0.7, 0.6, 0.3]),
    ([1], [0.55, 0.51]),
    ([], [0.8]),
    ([], [0.2]),
    ([], []),
    ([], [0.5, 0.9]),
    ([2, 2], [0.1]),
]

PICTURE_BOXES = ((10.0, 20.0, 60.0, 80.0), (70.0, 5.0, 119.0, 50.0))


class Goldens:
    """The stored arrays by name; of large ones every n-th value, with mean, deviation and largest value of all."""

    def __init__(self) -> None:
        with np.load(GOLDEN / "detection.npz") as file:
            self._arrays = {"f": file["floats"], "d": file["doubles"], "i": file["ints"]}
            self.index: dict[str, dict[str, Any]] = json.loads(str(file["index"]))

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        entry = self.index[name]
        start = entry["offset"]
        values = self._arrays[entry["kind"]][start : start + math.prod(entry["shape"])]
        return np.asarray(values.reshape(entry["shape"]))

    def texts(self, name: str) -> list[str]:
        return list(self.index[name]["texts"])

    def check(self, name: str, value: torch.Tensor | npt.NDArray[Any], tolerance: float = 1e-4) -> None:
        """Assert that a tensor is the stored one, to a share of the largest value of the whole array."""
        entry = self.index[name]
        found = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
        wanted = self[name]
        if "step" not in entry:
            assert found.shape == wanted.shape, f"{name}: {found.shape} instead of {wanted.shape}"
            largest = np.abs(wanted).max(initial=0.0)
        else:
            assert list(found.shape) == entry["full_shape"], f"{name}: {found.shape} instead of {entry['full_shape']}"
            mean, deviation, largest = entry["stat"]
            assert abs(found.mean(dtype=np.float64) - mean) <= tolerance * largest, name
            assert abs(found.std(dtype=np.float64) - deviation) <= tolerance * largest, name
            assert abs(np.abs(found).max() - largest) <= tolerance * largest, name
            found = found.reshape(-1)[:: entry["step"]][: len(wanted)]
        assert np.abs(found - wanted).max(initial=0.0) <= tolerance * max(largest, 1e-12), name


def rng(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published detector's tensors."""
    shapes = json.loads((GOLDEN / "state_dict_keys_detection.json").read_text())
    return {name: tuple(shape) for name, shape in shapes.items()}


def published_tensor(name: str, shape: Sequence[int]) -> torch.Tensor:
    """Return one entry of the published detector's state dict."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.zeros(tuple(shape), dtype=torch.int64)
    if leaf in ("running_var", "scale"):
        normal = rng(name).standard_normal(tuple(shape))
        values = 1 + (0.2 * np.abs(normal) if leaf == "running_var" else 0.1 * normal)
    elif leaf == "running_mean":
        values = 0.05 * rng(name).standard_normal(tuple(shape))
    else:
        values = param(name, shape)
    return torch.from_numpy(values.astype(np.float32))


def published_tensors(beginnings: Iterable[str] = ("",)) -> dict[str, torch.Tensor]:
    """Return the entries whose names begin so."""
    chosen = tuple(beginnings)
    return {n: published_tensor(n, shape) for n, shape in published_shapes().items() if n.startswith(chosen)}


def frames(count: int) -> torch.Tensor:
    """Return target and support frames of the full model, already normalised, ``(count, 3, 224, 320)``."""
    common = rng("detection/frame/common").standard_normal((3, 14, 20), dtype=np.float32)
    out = []
    for i in range(count):
        g = rng(f"detection/frame/{i}")
        own = g.standard_normal((3, 14, 20), dtype=np.float32)
        fine = g.standard_normal((3, 224, 320), dtype=np.float32)
        coarse = np.float32(0.6) * common + np.float32(0.8) * own
        out.append(np.kron(coarse, np.ones((1, 16, 16), np.float32)) + np.float32(0.3) * fine)
    return torch.from_numpy(np.stack(out))


def features(count: int) -> list[torch.Tensor]:
    """Return made-up maps that enter the feature pyramid network, ``(count, 768, h, w)`` at three resolutions."""
    out = []
    for level, (h, w) in enumerate(SMALL_LEVELS[:3]):
        common = rng(f"detection/feature/common/{level}").standard_normal((768, h, w), dtype=np.float32)
        own = [
            rng(f"detection/feature/{i}/{level}").standard_normal((768, h, w), dtype=np.float32) for i in range(count)
        ]
        out.append(torch.from_numpy(np.stack([np.float32(0.6) * common + np.float32(0.8) * o for o in own])))
    return out


def head_outputs(case: str) -> list[dict[str, torch.Tensor]]:
    """Return made-up outputs of both stages for one image of 128 x 160, one entry per level.

    Case ``a`` has many candidates, any other few.
    """
    out = []
    for level, ((h, w), stride) in enumerate(zip(SMALL_LEVELS, STRIDES, strict=True)):
        g = rng(f"detection/head/{case}/{level}")
        shapes = {"logits": 2, "centerness": 1, "ltrb": 4, "stft_logits": 2, "stft_reg": 4}
        normal = {name: g.standard_normal((n, h, w), dtype=np.float32) for name, n in shapes.items()}
        values = {
            "logits": np.float32(2) * normal["logits"] - np.float32(3 if case == "a" else 7),
            "centerness": normal["centerness"],
            "ltrb": np.float32(stride) * (np.float32(2) + np.float32(1.5) * np.abs(normal["ltrb"])),
            "stft_logits": np.float32(1.5) * normal["stft_logits"] - np.float32(1),
            "stft_reg": np.float32(0.2) * normal["stft_reg"],
        }
        out.append({name: torch.from_numpy(array) for name, array in values.items()})
    return out


def deform_case() -> dict[str, torch.Tensor]:
    g = rng("detection/deform")
    x = g.standard_normal((2, 8, 7, 9), dtype=np.float32)
    offset = np.float32(2) * g.standard_normal((2, 72, 7, 9), dtype=np.float32)
    weight = (g.standard_normal((6, 8, 3, 3), dtype=np.float32) / np.float32(math.sqrt(72))).astype(np.float32)
    return {"x": torch.from_numpy(x), "offset": torch.from_numpy(offset), "weight": torch.from_numpy(weight)}


def nms_case() -> dict[str, torch.Tensor]:
    g = rng("detection/nms")
    centre = 40 + 20 * g.random((60, 2))
    half = 12 + 12 * g.random((60, 2))
    boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    scores = g.random(60).astype(np.float32)
    labels = g.integers(1, 3, 60)
    return {"boxes": torch.from_numpy(boxes), "scores": torch.from_numpy(scores), "labels": torch.from_numpy(labels)}
