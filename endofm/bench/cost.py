"""Cost of embedding: seconds per clip and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Cost:
    """Time and memory that embedding a set took.

    Attributes:
        seconds: Processor seconds of all threads on a CPU, seconds of the clock on another device.
        clips: Clips that were embedded; a still is one.
        gigabytes: Largest memory: of the process on a CPU, PyTorch and pictures included, as far as the system reports
            it; of tensors on a GPU.
    """

    seconds: float = 0.0
    clips: int = 0
    gigabytes: float | None = None

    @contextmanager
    def measured(self, device: torch.device) -> Iterator[None]:
        """Add the time of a block, and keep the largest memory."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            torch.cuda.synchronize(device)
        else:
            # Resets the peak that the system keeps of a process; only Linux has it.
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        begun = clock()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds += clock() - begun
        peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else _peak_of_process()
        if peak is not None:
            self.gigabytes = max(peak, self.gigabytes or 0.0)


def _peak_of_process() -> float | None:
    """Return the largest resident memory since the last reset in GB; None where the system does not report it."""
    with suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9
    return None
