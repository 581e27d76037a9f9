"""Attacks on arguments: numbers of every kind, tensors of every layout, and shapes beyond what is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from benchmarks.robustness.sandbox import Case, Outcome, generator
from benchmarks.robustness.small_model import small_model

NUMBERS = ("fps", "window_seconds", "hop_seconds", "frame_stride", "hop_frames", "batch_size")


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks on arguments of ``extract_features`` and on clips given to the model."""
    small_model()
    kinds: list[tuple[str, Callable[[Random], tuple[Outcome, str]]]] = [
        ("argument", _attack_argument),
        ("frames", _attack_frames),
        ("clip", _attack_clip),
    ]
    for number in range(count):
        label, attack = kinds[number % len(kinds)]
        yield Case(f"numbers {label}", f"#{number} seed {seed}", _bind(attack, seed, number))


def _bind(attack: Callable[[Random], tuple[Outcome, str]], seed: int, number: int) -> Callable[[], tuple[Outcome, str]]:
    return lambda: attack(generator(seed, "numbers", number))


def _attack_argument(rng: Random) -> tuple[Outcome, str]:
    import numpy as np

    name = rng.choice(NUMBERS)
    values: list[Any] = [0, -1, 1, 2.5, 1e-9, 1e-300, 1e9, 1e308, 10**400, float("nan"), float("inf"), True, None, "1"]
    values += [np.float32(1), np.float16(1), np.int64(2), np.uint8(3), np.array(1.0), np.array([1, 2]), b"1", [1], {}]
    value = rng.choice(values)
    arguments = {"fps": 10, "progress": False, name: value}
    if name == "hop_seconds":
        arguments["window_seconds"] = 1.0
    if name == "hop_frames":
        arguments["frame_stride"] = 2
    features = small_model().extract_features(np.zeros((20, 40, 48, 3), np.uint8), **arguments)
    if not np.isfinite(features.embeddings).all() or len(features) == 0:
        return Outcome.SILENT, f"{name}={value!r}: {features.embeddings.shape}"
    return Outcome.OK, f"{name}={value!r}"


def _attack_frames(rng: Random) -> tuple[Outcome, str]:
    import numpy as np
    import torch

    shape = [rng.choice((0, 1, 2, 3, 4, 17, 48)) for _ in range(rng.choice((0, 1, 2, 3, 4, 5)))]
    if rng.random() < 0.5 and len(shape) == 4:
        shape[-1] = 3
    kind = rng.choice(("uint8", "float32", "int64", "bool", "complex64", "float16", "object", "U1"))
    frames: Any = np.zeros(shape, kind)
    if rng.random() < 0.5 and kind not in ("object", "U1"):
        frames = torch.from_numpy(frames)
        frames = rng.choice((lambda x: x, lambda x: x.to("meta"), lambda x: x.to_sparse(), lambda x: x.T))(frames)
    elif rng.random() < 0.3:
        frames = list(frames) if frames.ndim else [frames]
    features = small_model().extract_features(frames, fps=10, window_seconds=0.4, progress=False)
    if not np.isfinite(features.embeddings).all():
        return Outcome.SILENT, f"{kind} {shape}"
    return Outcome.OK, f"{kind} {shape}"


def _attack_clip(rng: Random) -> tuple[Outcome, str]:
    import torch

    shape = [rng.choice((0, 1, 2, 3)), 3, rng.choice((1, 2, 5)), 32, 32]
    if rng.random() < 0.4:
        shape[rng.randrange(5)] = rng.choice((0, 1, 7, 16, 33))
    if rng.random() < 0.2:
        del shape[rng.randrange(5)]
    clip = torch.zeros(shape)
    change = rng.choice(
        (
            lambda x: x,
            lambda x: x.double(),
            lambda x: x.half(),
            lambda x: x.to(torch.uint8),
            lambda x: x.to(torch.float8_e4m3fn),
            lambda x: x.to_sparse(),
            lambda x: x.to("meta"),
            lambda x: x + float("nan"),
            lambda x: x.numpy(),
        )
    )
    with torch.inference_mode():
        output = small_model()(change(clip))
    if tuple(output.shape) != (shape[0], 32):
        return Outcome.SILENT, f"{shape} gave {tuple(output.shape)}"
    return Outcome.OK, f"{shape}"
