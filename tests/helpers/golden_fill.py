"""Weights and inputs of the golden tests, drawn from their names so that none has to be stored.

Each array comes from numpy's Philox generator, keyed by the CRC-32 of a string; numbers are drawn in float64 and
cast at the end. The golden files in ``tests/golden`` were made from exactly these arrays.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

WAVES_PER_CHANNEL = 4


def _generator(key: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=zlib.crc32(key.encode())))


def param(name: str, shape: Sequence[int], salt: str = "") -> Float32Array:
    """Return the value of the parameter ``name`` (its name inside the module); ``salt`` gives a second set of weights.

    Gains of weight norm are 1, gains of layer norm 1 + 0.1 n, biases and other vectors 0.05 n, tokens and tables
    0.3 n, matrices and kernels n / sqrt(fan in), with n standard normal.
    """
    shape = tuple(shape)
    if name.endswith("weight_g"):
        return np.ones(shape, np.float32)
    normal = _generator(salt + name).standard_normal(shape)
    is_vector = len(shape) == 1
    if is_vector and name.endswith(".weight"):
        values = 1 + 0.1 * normal
    elif is_vector or name.endswith(".bias"):
        values = 0.05 * normal
    elif name.split(".")[-1] in {"cls_token", "pos_embed", "time_embed"}:
        values = 0.3 * normal
    else:
        values = normal / math.sqrt(math.prod(shape[1:]))
    return values.astype(np.float32)


def params(shapes: Mapping[str, Sequence[int]], salt: str = "") -> dict[str, Float32Array]:
    """Return the values of all parameters of a module, given their shapes."""
    return {name: param(name, shape, salt) for name, shape in shapes.items()}


def normal_input(name: str, shape: Sequence[int], std: float = 1.0) -> Float32Array:
    """Return a normal input, float32."""
    return (std * _generator(f"input/{name}").standard_normal(tuple(shape))).astype(np.float32)


def uint8_clip(name: str, shape: Sequence[int]) -> UInt8Array:
    """Return uint8 frames ``(time, height, width, channels)``: drifting waves plus noise."""
    time, height, width, channels = shape
    generator = _generator(f"clip/{name}")
    waves = generator.random((channels, WAVES_PER_CHANNEL, 4))
    noise = generator.random((time, height, width, channels))
    t = np.arange(time, dtype=np.float64).reshape(-1, 1, 1)
    y = np.arange(height, dtype=np.float64).reshape(1, -1, 1) / height
    x = np.arange(width, dtype=np.float64).reshape(1, 1, -1) / width
    smooth = np.zeros((time, height, width, channels))
    for channel in range(channels):
        for rows, columns, phase, drift in waves[channel]:
            cycles = 6 * rows * y + 6 * columns * x + phase + 0.2 * drift * t
            smooth[..., channel] += np.sin(2 * np.pi * cycles)
    values = 127.5 + 24.0 * smooth + 40.0 * (noise - 0.5)
    return np.clip(np.floor(values), 0, 255).astype(np.uint8)


def self_check() -> None:
    """Raise AssertionError if this numpy draws other numbers than those the golden files were made with."""
    draws: list[tuple[Float32Array | UInt8Array, Sequence[float]]] = [
        (
            param("blocks.0.attn.qkv.weight", (6, 4)),
            [-0.06434257328510284, -0.29513946175575256, 0.44498541951179504],
        ),
        (param("norm.weight", (4,)), [0.9159130454063416, 1.1767940521240234, 1.0153357982635498]),
        (normal_input("tiny", (4,)), [-0.21410827338695526, -1.118079662322998, -0.6935261487960815]),
        (uint8_clip("a", (1, 4, 4, 3)), [227, 118, 108, 143, 159, 105]),
    ]
    for drawn, expected in draws:
        first = drawn.ravel()[: len(expected)].astype(np.float64)
        np.testing.assert_allclose(first, np.array(expected, np.float64), rtol=0, atol=1e-7)
