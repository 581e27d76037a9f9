"""Files of class probabilities: JSON with everything, which is read as well, or a CSV table, one clip per line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from endofm.csv_text import write_table
from endofm.errors import InputError, quoted
from endofm.files import atomic_path
from endofm.json_text import read_json
from endofm.tasks.classification.config import ClassificationHeadConfig

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
        rows = [["start_seconds", "end_seconds", "predicted", *(f"p({label})" for label in labels)]]
        for clip in values["clips"]:
            numbers = [f"{value:.6f}" for value in clip["probabilities"]]
            times = [f"{clip[name]:.3f}" for name in ("start_seconds", "end_seconds")]
            rows.append([*times, "+".join(clip["predicted"]), *numbers])
        write_table(temporary, rows)


def read_classification(path: Path) -> dict[str, Any]:
    """Return the values of a ``.json`` file that :func:`write_classification` wrote, with its head as a configuration.

    Raises:
        InputError: If the file cannot be read, has another format or is damaged.
    """
    try:
        values = read_json(path)
        if values["format"] != "endofm-classification":
            raise KeyError("format")
        # JSON has no tuples.
        stored: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["head"].items()
        }
        head = ClassificationHeadConfig(**stored)
        rows = [float(number) for clip in values["clips"] for number in clip["probabilities"]]
        times = [float(clip[name]) for clip in values["clips"] for name in ("start_seconds", "end_seconds")]
        if not rows or len(rows) * 2 != len(times) * head.num_classes or not isinstance(values["provenance"], dict):
            raise ValueError("clips")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: this is not a file of class probabilities of this package, or it is damaged ({quoted(error)})"
        ) from error
    return {**values, "head": head}
