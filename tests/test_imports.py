"""What importing the package costs, and that imports point downwards only."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import endofm

PACKAGE = Path(endofm.__file__).parent

# docs/architecture.md, the table of floors. A folder may import itself and lower floors.
FLOORS = {
    "errors": 0,
    "_version": 0,
    "task_table": 1,
    "encoder_table": 1,
    "config": 2,
    "outputs": 2,
    "progress": 3,
    "files": 3,
    "json_text": 0,
    "column_names": 0,
    "list_lines": 1,
    "list_table": 2,
    "csv_text": 0,
    "arguments": 1,
    "address": 1,
    "resume": 3,
    "output_place": 3,
    "store_lock": 3,
    "demo": 0,
    "disclaimer": 0,
    "pool": 3,
    "kernels": 3,
    "layers": 4,
    "hub": 4,
    "video": 4,
    "transforms": 5,
    "inference": 6,
    "models": 7,
    "tasks": 8,
    "data": 9,
    "visualize": 9,
    "benchmark": 9,
    "export": 9,
    "report": 10,
    "synthetic": 10,
    "entrypoints": 10,
    "timm_models": 10,
    "evaluation": 10,
    "library": 11,
    "training": 11,
    "app": 12,
    "bench": 12,
    "cli": 13,
    "__main__": 14,
}
# Drawn from on their own floor as well: they know nothing of anything else.
SHARED = {"errors", "progress", "files", "pool", "resume", "output_place", "store_lock"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def home(dotted: str) -> str:
    return dotted.split(".")[1]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for dotted in sorted(imported):
        if not dotted.startswith("endofm."):
            continue
        other = home(dotted)
        allowed = other == own or FLOORS[other] < FLOORS[own] or other in SHARED
        assert allowed, f"{path.relative_to(PACKAGE)} (floor {FLOORS[own]}) imports {dotted} (floor {FLOORS[other]})"


def test_only_the_command_line_imports_the_renderer() -> None:
    importers = {
        path.relative_to(PACKAGE).parts[0]
        for path in modules()
        if re.search(r"^\s*(?:from|import) endofm\.synthetic", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert importers == {"cli", "synthetic"}


def loaded_by(code: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in result.stdout.split()} | set(result.stdout.split())


def test_import_is_light() -> None:
    loaded = loaded_by("import endofm")
    heavy = {"av", "huggingface_hub", "timm", "torchvision", "matplotlib", "numpy", "torch", "PIL"}
    assert not heavy & loaded
    assert not {name for name in loaded if name.startswith("endofm.training")}


def test_the_encoder_alone_needs_torch_alone() -> None:
    loaded = loaded_by("from endofm import EndoFM, VideoTransformer, EncoderConfig")
    assert "torch" in loaded
    assert not {"av", "huggingface_hub", "timm", "torchvision", "matplotlib"} & loaded


def test_torchvision_comes_with_the_detector_alone() -> None:
    loaded = loaded_by("import endofm.tasks.features.model, endofm.tasks.detection.layout, endofm.tasks.detection")
    assert "torchvision" not in loaded
    assert "torchvision" in loaded_by("import endofm.tasks.detection.detector")


def test_public_names_exist() -> None:
    for name in endofm.__all__:
        assert getattr(endofm, name) is not None
    assert dir(endofm) == sorted(endofm.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = endofm.nonsense
