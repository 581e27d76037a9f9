"""The C sources of the package, built as they lie here, whatever is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY

_SOURCES = REPOSITORY / "endofm" / "kernels"


def build(name: str, folder: Path) -> Path:
    """Return the library made of a source; the test is skipped where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / f"{name}.so"
    command = [compiler, "-O3", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", str(_SOURCES / f"{name}.c")]
    subprocess.run([*command, "-o", str(library)], check=True)
    return library
