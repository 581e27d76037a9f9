"""Files of class probabilities: JSON with everything, or a CSV table with one clip per line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from endofm.csv_text import write_table
from endofm.errors import InputError, quoted
from endofm.files import atomic_path

FILE_SUFFIXES = (".json", ".csv")


def write_classification(path: Path, values: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Write class probabilities in the format that the suffix names; the file appears when it is complete.

    Args:
        path: File ending in ``.json`` or ``.csv``.
        values: Plain JSON values, as :meth:`VideoClassification.to_dict` returns them.
        labels: Names of the classes, in the order of the probabilities.

    Raises:
        InputError: If the suffix is another one.
    """
    suffix = path.suffix.lower()
    if suffix not in FILE_SUFFIXES:
        raise InputError(f"{path}: a classification is written as .json or .csv, not {quoted(path.suffix)}")
    with atomic_path(path) as temporary:
        if suffix == ".json":
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8", newline="\n")
            return
        rows = [["start_seconds", "end_seconds", "said", *(f"p({label})" for label in labels)]]
        for clip in values["clips"]:
            numbers = [f"{value:.6f}" for value in clip["probabilities"]]
            times = [f"{clip[name]:.3f}" for name in ("start_seconds", "end_seconds")]
            rows.append([*times, "+".join(clip["said"]), *numbers])
        write_table(temporary, rows)
