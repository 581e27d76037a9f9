"""C kernels that are built when the package is installed, if there is a C compiler, and run on PyTorch's threads.

PyTorch offers its threads in its stable C interface (``torch_parallel_for``, since 2.10). Where the compiler, PyTorch
or the processor is missing something, :func:`load` says what, and PyTorch's own operators do the work.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")


class Library:
    """A built file.

    Args:
        path: The file.

    Raises:
        OSError: If it, or PyTorch's own library, cannot be loaded.
        AttributeError: If this PyTorch does not offer its threads.
    """

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))
        self._parallel_for = ctypes.CDLL(
            str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")
        ).torch_parallel_for
        self._parallel_for.argtypes = (*[ctypes.c_int64] * 3, ctypes.c_void_p, ctypes.c_void_p)

    def run(self, name: str, tasks: int, job: ctypes.Structure, *, grain: int = 1) -> None:
        """Have PyTorch's threads call a function, ``void name(int64_t begin, int64_t end, void *job)``.

        Args:
            name: Of the function.
            tasks: How many there are; each thread is given some of them.
            job: What the function is told.
            grain: Tasks that are worth a thread.

        Raises:
            RuntimeError: If PyTorch could not do it.
        """
        function = ctypes.cast(getattr(self.functions, name), ctypes.c_void_p)
        if self._parallel_for(0, tasks, grain, function, ctypes.addressof(job)):
            raise RuntimeError(f"PyTorch could not run the kernel {name} on its threads")


def load(module: str, make: Callable[[Path], T]) -> T | str:
    """Load kernels that were built with the package, or say why not.

    Args:
        module: Full name under which they are installed.
        make: Makes of the built file what is wanted.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return "not built: the package was installed without a C compiler, or is used without being installed"
    try:
        return make(Path(spec.origin))
    except OSError as error:
        return f"cannot be loaded: {error}"
    except AttributeError:
        return f"PyTorch {torch.__version__} cannot run them; version 2.10 and later can"
