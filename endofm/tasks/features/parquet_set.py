"""One Parquet data set of the features of many videos: a folder that other programs read as a single table.

The folder's name ends in ``.parquet``. Each video is one file, which is written, resumed and read like any feature
file, with the name of the video as a further column. Names of files are digests: some readers take words such as
``test`` in the names of files for splits, and leave out the other files. They also read whatever else is there, so that
the manifest of the job is hidden (:func:`endofm.resume.manifest_name`). Buckets keep the folders of large sets short.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from endofm.address import Address
from endofm.errors import FeatureFileError, InputError, cause, require_extra
from endofm.inference.job_manifest import read_entries
from endofm.inference.video_paths import VideoItem
from endofm.resume import manifest_name
from endofm.tasks.features.files import write_arrays
from endofm.tasks.features.results import VideoFeatures

SET_FORMAT = "parquet-dataset"
"""Name of the format among those of feature files."""

SET_SUFFIX = ".parquet"
"""Suffix of the folder, and of the files in it."""


def set_items(items: Sequence[VideoItem], out: Path | Address) -> list[VideoItem]:
    """Return videos with their places in a data set, and with their names.

    Args:
        items: The videos.
        out: Folder or address of the data set.

    Raises:
        InputError: If its name does not end in ``.parquet``, by which readers know the folder.
    """
    if out.suffix != SET_SUFFIX:
        raise InputError(
            f"{out}: a Parquet data set is a folder whose name ends in {SET_SUFFIX}, as in features.parquet"
        )
    return [replace(item, output=_place(item.output), name=item.output) for item in items]


def save_part(features: VideoFeatures, path: Path, name: str) -> None:
    """Write the file of one video of a data set.

    Raises:
        FeatureFileError: If it cannot be written.
        MissingExtraError: If pyarrow is not installed.
    """
    # Arrow's strings are UTF-8, which names of files need not be.
    shown = name.encode("utf-8", "backslashreplace").decode()
    write_arrays(path, features.arrays(), {"provenance": json.dumps(features.provenance), "video": shown})


def is_parquet_set(path: Path) -> bool:
    """Return whether a path is the folder of a data set."""
    return path.suffix == SET_SUFFIX and path.is_dir()


def set_files(folder: Path) -> dict[str, Path]:
    """Return the files of a data set by the names of their videos, in the order of the names.

    The manifest tells them; the files themselves are asked where it does not, as in a copy without it.

    Raises:
        FeatureFileError: If a file is damaged.
        InputError: If the manifest is, or two files are of one video.
        MissingExtraError: If pyarrow is not installed.
    """
    listed: dict[Path, str] = {}
    if (folder / manifest_name(folder)).is_file():
        listed = {folder / entry.output: str(entry.summary.get("video", "")) for entry in read_entries(folder)}
    files: dict[str, Path] = {}
    for path in folder.rglob(f"*{SET_SUFFIX}"):
        if path.name.startswith(".") or not path.is_file():
            continue
        name = listed.get(path) or _stated_name(path)
        if name in files:
            raise InputError(f"{path} and {files[name]}: two feature files of one video; keep one of them")
        files[name] = path
    return dict(sorted(files.items()))


def _place(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    # A number in every case: readers guess the type of a partition by its first values.
    return f"bucket={int(digest[:2], 16)}/{digest[:32]}"


def _stated_name(path: Path) -> str:
    parquet = require_extra("pyarrow.parquet", "parquet", "A Parquet data set")
    try:
        with path.open("rb") as file:
            stated = (parquet.read_schema(file).metadata or {}).get(b"video")
        return path.stem if stated is None else str(stated.decode())
    except Exception as error:
        raise FeatureFileError(f"{path}: damaged, or not a Parquet file ({cause(error)})") from error
