"""The C kernels of attention on 64-bit ARM, where this machine has a compiler for it and an emulator."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import torch

from endofm.kernels.native import HEAD_DIM
from helpers.paths import REPOSITORY


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Command that reads queries, keys and values and writes the result."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip(
            "no compiler and emulator for ARM (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)"
        )
    built = tmp_path_factory.mktemp("arm") / "attention"
    source = REPOSITORY / "tests" / "helpers" / "attention_program.c"
    options = ["-O3", "-Wall", "-Wextra", "-Werror", "-static"]
    subprocess.run([compiler, *options, str(source), "-o", str(built)], check=True)
    return [emulator, str(built)]


@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize(("sequences", "heads", "tokens"), [(5, 3, 8), (2, 2, 37), (1, 2, 197), (3, 1, 1)])
def test_equal_to_the_definition(sequences: int, heads: int, tokens: int, size: float, program: list[str]) -> None:
    given = torch.randn(3, sequences, heads, tokens, HEAD_DIM)
    given[0] *= size
    command = [*program, str(sequences), str(heads), str(tokens)]
    done = subprocess.run(command, input=given.numpy().tobytes(), stdout=subprocess.PIPE, check=True)
    result = torch.frombuffer(bytearray(done.stdout), dtype=torch.float32).view_as(given[0])
    q, k, v = given.double()
    expected = (q @ k.transpose(-2, -1) / 8).softmax(dim=-1) @ v
    torch.testing.assert_close(result.double(), expected, atol=2e-6 * size * 8, rtol=0)
