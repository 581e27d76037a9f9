"""Checkpoints of a run: a damaged newest one falls back to the one before, and stray files are no checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from endofm.errors import CheckpointFormatError
from endofm.training.engine.run_checkpoints import CheckpointFolder, read_run_checkpoint


def _flip(data: bytes, signature: bytes, offset: int, bits: int) -> bytes:
    changed = bytearray(data)
    changed[changed.find(signature) + offset] ^= bits
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "flags": lambda data: _flip(_flip(data, b"PK\x01\x02", 8, 1), b"PK\x03\x04", 6, 1),
    "method": lambda data: _flip(_flip(data, b"PK\x01\x02", 10, 99), b"PK\x03\x04", 8, 99),
    "deflate": lambda data: _flip(_flip(data, b"PK\x01\x02", 10, 8), b"PK\x03\x04", 8, 8),
    "name": lambda data: _flip(data, b"PK\x01\x02", 46, 0x80),
    "content": lambda data: data[:2000] + bytes([data[2000] ^ 4]) + data[2001:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.write(step, {"weights": torch.randn(50, 50), "step": step}, keep=5, best=None)
    newest = folder.path(2)
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    path, problems = folder.newest_intact()
    assert path == folder.path(1)
    assert read_run_checkpoint(path)["step"] == 1
    assert len(problems) == 1
    assert newest.name in problems[0]
    folder.path(1).write_bytes(b"")
    with pytest.raises(CheckpointFormatError, match="every checkpoint in it is damaged"):
        folder.newest_intact()


def test_stray_files_are_no_checkpoints(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.write(3, {"step": 3}, keep=5, best=None)
    for name in ("step-3 (1).pt", "step-4x.pt", "step-.pt", "step-00000005.pt.bak"):
        (tmp_path / name).write_bytes(b"")
    assert folder.steps() == [3]
    assert folder.newest_intact() == (folder.path(3), [])
