"""Execute notebooks in a temporary folder, and write them with their outputs.

python examples/notebooks/execute.py                     # all of this folder, in place
python examples/notebooks/execute.py 1-*.ipynb --to out  # some of them, elsewhere

With ``ENDOFM_QUICK=1`` in the environment they use less data, as in the tests.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
_SECONDS_PER_CELL = 1800


def execute(notebook: Path, target: Path) -> None:
    """Execute a notebook and write it, without what commands print beside their results, and without times of cells.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails; nothing is written.
    """
    content = nbformat.read(notebook, as_version=4)
    # The shell cells run the command that belongs to this interpreter.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["COLUMNS"] = "100"
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            content,
            timeout=_SECONDS_PER_CELL,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            coalesce_streams=True,
        )
        client.execute()
    for cell in content.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    content.metadata.pop("language_info", None)
    nbformat.write(content, target)


def main() -> None:
    """Execute the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="notebooks (default: all in this folder)")
    parser.add_argument("--to", type=Path, help="folder to write to (default: in place)")
    args = parser.parse_args()
    for notebook in args.notebooks or sorted(FOLDER.glob("*.ipynb")):
        execute(notebook, (args.to or notebook.parent) / notebook.name)


if __name__ == "__main__":
    main()
