"""The notebooks run from the first cell to the last, and are kept with outputs that show no place of their making."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.paths import REPOSITORY

FOLDER = REPOSITORY / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST_BYTES = 500_000


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_kept_outputs_are_small_complete_and_name_no_folder(notebook: Path) -> None:
    assert notebook.stat().st_size < LARGEST_BYTES
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(
        any(kind.startswith("image/") for kind in output.get("data", {})) for cell in cells for output in cell.outputs
    )
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type != "error"
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"(?:^|[\s'\"])(?:/tmp|/home|/root|/work|/Users|C:\\)", text), text


@pytest.mark.skipif(sys.platform == "win32", reason="cells of commands are written for bash")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "execute.py"), str(notebook), "--to", str(tmp_path)],
        env={**os.environ, "ENDOFM_QUICK": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / notebook.name).is_file()
