"""Formats of labels that are read and written, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from endofm.data.interchange.coco_labels import coco_files, read_coco_labels, write_coco_labels
from endofm.data.interchange.cvat import is_cvat, read_cvat, write_cvat
from endofm.data.interchange.fiftyone import write_fiftyone
from endofm.data.interchange.label_studio import is_label_studio, read_label_studio, write_label_studio
from endofm.data.interchange.media_labels import LabelSet
from endofm.data.interchange.yolo import is_yolo, read_yolo, write_yolo
from endofm.errors import InputError, quoted


@dataclass(frozen=True, kw_only=True)
class LabelReader:
    """One format that is read.

    Attributes:
        expects: What it consists of, for messages.
        recognise: Whether a path has this format.
        read: Returns its labels.
    """

    expects: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path], LabelSet]


READERS = {
    "cvat": LabelReader(expects="annotations.xml of CVAT for images or video 1.1", recognise=is_cvat, read=read_cvat),
    "label-studio": LabelReader(
        expects="an export of Label Studio in the format JSON", recognise=is_label_studio, read=read_label_studio
    ),
    "yolo": LabelReader(expects="a folder with data.yaml, images and labels", recognise=is_yolo, read=read_yolo),
    "coco": LabelReader(
        expects="COCO JSON files, in the folder or in annotations/",
        recognise=lambda path: bool(coco_files(path)),
        read=read_coco_labels,
    ),
}

WRITERS: dict[str, Callable[[LabelSet, Path], list[Path]]] = {
    "cvat": write_cvat,
    "label-studio": write_label_studio,
    "yolo": write_yolo,
    "coco": write_coco_labels,
    "fiftyone": write_fiftyone,
}
"""Functions that write labels into a folder and return the files."""


def read_labels(path: str | Path, name: str | None = None) -> LabelSet:
    """Read labels of another tool.

    Args:
        path: File or folder that it has exported.
        name: Name in :data:`READERS`; None to recognise the format.

    Raises:
        InputError: If there is no such path, no or several formats fit, or it is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if name is not None and name not in READERS:
        raise InputError(f"there is no format {quoted(name)}; choose one of {', '.join(READERS)}")
    fitting = [name] if name is not None else [key for key, one in READERS.items() if one.recognise(path)]
    if not fitting:
        expected = "; ".join(f"{key}: {one.expects}" for key, one in READERS.items())
        raise InputError(f"{path}: no format of labels fits; expected {expected}")
    if len(fitting) > 1:
        raise InputError(f"{path}: this could be {' or '.join(fitting)}; name one with --format")
    return READERS[fitting[0]].read(path)
