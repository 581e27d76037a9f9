"""Measures of the package's structure: size, names, comments, and how many files a call runs through.

``python tests/helpers/structure.py`` prints them for this checkout, ``--package DIR`` for another one's ``endofm``
folder. ``tests/test_structure.py`` holds the limits.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tokenize
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "endofm"


def modules(package: Path = PACKAGE) -> list[Path]:
    """Every Python file of the package."""
    return sorted(package.rglob("*.py"))


def shared_names(package: Path = PACKAGE) -> dict[str, list[Path]]:
    """Files by a file name that at least two of them have, ``__init__.py`` aside."""
    named: dict[str, list[Path]] = defaultdict(list)
    for path in modules(package):
        if path.name != "__init__.py":
            named[path.name].append(path)
    return {name: paths for name, paths in named.items() if len(paths) > 1}


def shared_classes(package: Path = PACKAGE) -> dict[str, list[Path]]:
    """Files by the name of a public class that at least two of them define."""
    homes: dict[str, list[Path]] = defaultdict(list)
    for path in modules(package):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(path)
    return {name: paths for name, paths in homes.items() if len(paths) > 1}


def comment_density(paths: list[Path]) -> float:
    """Whole-line comments per 100 lines of code; blank lines, comments and docstrings are no code."""
    comments = code = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        documented: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        lines = text.splitlines()
        own_line = {
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT and lines[token.start[0] - 1].lstrip().startswith("#")
        }
        comments += len(own_line)
        code += sum(
            bool(line.strip()) and number not in own_line and number not in documented
            for number, line in enumerate(lines, 1)
        )
    return 100 * comments / code


_TRACE = """
import sys, threading, warnings
warnings.simplefilter("ignore")
seen, importing = set(), 0
def trace(frame, event, argument):
    # A module's own body, and whatever it calls, is an import and no step of the call.
    global importing
    if frame.f_code.co_name == "<module>":
        importing += {{"call": 1, "return": -1}}.get(event, 0)
    elif event == "call" and not importing:
        seen.add(frame.f_code.co_filename)
{before}
threading.setprofile(trace)
sys.setprofile(trace)
{code}
sys.setprofile(None)
import endofm
root = endofm.__file__.rsplit("/", 1)[0]
print("\\n".join(sorted(name[len(root) + 1:] for name in seen if name.startswith(root))))
"""


def files_run(code: str, before: str = "", package: Path = PACKAGE) -> list[str]:
    """Files of the package whose functions run during ``code``, imports aside."""
    done = subprocess.run(
        [sys.executable, "-c", _TRACE.format(code=code, before=before)],
        capture_output=True,
        text=True,
        check=True,
        cwd=package.parent,
    )
    return done.stdout.split()


LOAD = ("from endofm import EndoFM", 'model = EndoFM.from_pretrained("endofm-nano-4x96")')
"""From a name to a loaded model."""

EXTRACT = (
    """
import tempfile, numpy as np, av
from endofm import EndoFM
model = EndoFM.from_pretrained("endofm-nano-4x96")
folder = tempfile.mkdtemp()
with av.open(folder + "/video.mp4", "w") as container:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 96
    for _ in range(40):
        frame = av.VideoFrame.from_ndarray(np.zeros((96, 96, 3), dtype=np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
""",
    'model.extract_features(folder + "/video.mp4", window_seconds=1).save(folder + "/video.safetensors")',
)
"""From a video's path to a saved feature file."""


def inference_modules(package: Path = PACKAGE) -> list[Path]:
    """Modules of the package that every public model class and its use on a video import."""
    code = (
        "import sys, endofm\nfor name in endofm.__all__: getattr(endofm, name)\n"
        "print('\\n'.join(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'endofm' and m.__file__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=package.parent)
    return [Path(line) for line in done.stdout.split()]


def count_lines(paths: list[Path]) -> int:
    """Lines of some files."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def main() -> None:
    """Print the measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("--files", action="store_true", help="list the files that the two calls run through")
    parser.add_argument("--names", action="store_true", help="list the file names and classes that are shared")
    args = parser.parse_args()
    package = args.package.resolve()
    every, inference = modules(package), inference_modules(package)
    named, classes = shared_names(package), shared_classes(package)
    largest = max(every, key=lambda path: count_lines([path]))
    load = files_run(LOAD[1], LOAD[0], package)
    extract = files_run(EXTRACT[1], EXTRACT[0], package)
    print(f"modules of the package                {len(every)}, {count_lines(every)} lines")
    print(f"modules that inference imports        {len(inference)}, {count_lines(inference)} lines")
    print(f"files sharing a name                  {sum(map(len, named.values()))}")
    print(f"public classes sharing a name         {len(classes)}")
    print(f"whole-line comments per 100 of code   {comment_density(every):.1f}")
    print(f"largest module                        {count_lines([largest])} lines, {largest.relative_to(package)}")
    print(f"files between a name and a model      {len(load)}")
    print(f"files between a video and its file    {len(extract)}")
    if args.files:
        print("", "name to model:", *load, "", "video to file:", *extract, sep="\n")
    if args.names:
        for name, paths in sorted({**named, **classes}.items()):
            print(name, *(str(path.relative_to(package)) for path in paths), sep="\n    ")


if __name__ == "__main__":
    main()
