"""Lists that are written next to prepared clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from endofm.csv_text import write_rows
from endofm.data.manifest import NAME_ERRORS, ClipRow
from endofm.errors import InputError
from endofm.files import atomic_path, write_text

NO_LABEL = "-1"
"""Label of unlabelled clips in the published lists."""


def write_clip_list(path: Path, rows: Iterable[ClipRow]) -> None:
    """Write the list that the published pre-training code reads: ``path,label`` per line, no header, no quoting.

    Paths are absolute, because that code joins them to an empty prefix: relative ones would only resolve from one
    working directory.

    Raises:
        InputError: If a path holds a comma, which that format cannot express.
    """
    folder = path.parent.resolve()
    lines = []
    for row in rows:
        target = (folder / row.path).as_posix()
        if "," in target:
            raise InputError(
                f"{target}: the list format of the published code cannot express a comma; rename the folder"
            )
        lines.append(f"{target},{NO_LABEL}\n")
    write_text(path, "".join(lines))


def write_problems(path: Path, problems: Sequence[tuple[str, str]], dropped: Sequence[tuple[str, str]]) -> None:
    """Write ``kind,source,text`` per line, or remove an older list if there are no entries.

    Args:
        path: File to create, replace or remove.
        problems: Sources that could not be read, of kind ``problem``.
        dropped: Items that were left out on purpose, of kind ``dropped``.
    """
    if not problems and not dropped:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors=NAME_ERRORS) as file:
        write_rows(file, [("kind", "source", "text")])
        write_rows(file, (("problem", *line) for line in problems))
        write_rows(file, (("dropped", *line) for line in dropped))
