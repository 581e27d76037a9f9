"""Shared memory, in which the worker processes of a loader pass their batches on."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from endofm.errors import InputError

SHARED_MEMORY_FULL = (
    "the shared memory (/dev/shm), in which workers pass their batches on, is full: use fewer workers (num_workers, 0 "
    "for none) or smaller batches, or give the container more, for example docker run --shm-size=8g"
)
"""Message; a container of Docker has 64 MB by default."""

_SIGNS = ("bus error", "shared memory", "torch_shm", "/torch_")


def is_shared_memory_full(error: BaseException) -> bool:
    """Return whether an exception of PyTorch says that there is no room left in shared memory."""
    text = str(error).lower()
    full = os.strerror(errno.ENOSPC).lower() in text or os.strerror(errno.ENOMEM).lower() in text
    return "bus error" in text or (full and any(sign in text for sign in _SIGNS))


def share_tensors(value: Any) -> None:
    """Move the tensors of a batch, in whatever structure, to shared memory.

    A queue would do it later, in a thread whose errors are lost: the main process would wait for ever.

    Raises:
        InputError: If it is full.
    """
    try:
        _share(value)
    except RuntimeError as error:
        if is_shared_memory_full(error):
            raise InputError(SHARED_MEMORY_FULL) from error
        raise


def _share(value: Any) -> None:
    if isinstance(value, Tensor):
        if value.device.type == "cpu":
            value.share_memory_()  # type: ignore[no-untyped-call]
    elif isinstance(value, Mapping):
        for item in value.values():
            _share(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _share(item)
    elif hasattr(value, "__dict__"):
        _share(vars(value))
