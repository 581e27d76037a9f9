"""Workers whose shared memory is full: one sentence that says what to do, and no endless wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from endofm.data.shared_memory import is_shared_memory_full, share_tensors

SCRIPT = """
import sys, torch
from dataclasses import dataclass
from endofm.data.clip_dataset import ClipSample
from endofm.data.loader import ClipLoader
from endofm.errors import EndoFMError

@dataclass
class Frames:
    pixels: torch.Tensor
    @classmethod
    def collate(cls, results):
        return cls(torch.stack([result.pixels for result in results]))

class Source:
    def set_epoch(self, epoch): pass
    def items_per_rank(self, world_size): return 64
    def tasks(self, *, shuffle, rank, world_size, skip): return iter(range(skip, 64))
    def read(self, task):
        pixels = torch.zeros(1, 8, 256, 256, 3, dtype=torch.uint8)
        frames = Frames(pixels) if sys.argv[1] == "objects" else pixels
        return ClipSample(frames, torch.zeros(8), 0, task, str(task), "")

try:
    print(sum(len(batch) for batch in ClipLoader(Source(), 8, num_workers=2)))
except EndoFMError as error:
    print(type(error).__name__, str(error))
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="no name spaces")
@pytest.mark.parametrize("kind", ["tensors", "objects"])
def test_a_small_shared_memory_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)

    def read(size: str) -> str:
        shell = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", shell, "-", sys.executable, str(tmp_path / "script.py"), kind]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
        if "mount:" in result.stderr or "unshare:" in result.stderr:
            pytest.skip("file systems cannot be mounted here")
        return result.stdout

    assert read("200m") == "64\n"
    said = read("4m")
    assert said.startswith("InputError the shared memory (/dev/shm)")
    assert "--shm-size" in said
    assert said.count("\n") == 1


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_shared_memory_full(RuntimeError("stack expects each tensor to be equal size"))
    assert not is_shared_memory_full(RuntimeError("write failed: No space left on device"))
    assert is_shared_memory_full(RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)"))


def test_every_tensor_of_a_batch_is_shared() -> None:
    batch = {"a": [torch.zeros(2)], "b": (torch.zeros(3), "text", None)}
    share_tensors(batch)
    assert batch["a"][0].is_shared()
    assert batch["b"][0].is_shared()
