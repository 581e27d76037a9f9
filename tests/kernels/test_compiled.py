"""What the package compiles when it is installed."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["compiled_attention", "split_products"])
def test_an_installation_has_them(module: str, tmp_path: Path) -> None:
    """What is installed, where something is, was built with a compiler and lacks at most the processor for it."""
    try:
        files = importlib.metadata.files("endofm") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    if not any(file.name == "compiled_attention.py" for file in files):
        pytest.skip("installed as a link to this folder")
    code = f"from endofm.layers.{module} import why_not; print(why_not())"
    command = [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(("None", "this processor"))
