"""``FeatureSet``: the feature files of a folder, read when they are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from endofm.address import Address, located
from endofm.errors import InputError, require_extra
from endofm.inference.job_manifest import read_entries
from endofm.tasks.features.files import FEATURE_SUFFIXES, is_feature_file, stored_feature_files
from endofm.tasks.features.parquet_set import SET_SUFFIX, is_parquet_set, set_files
from endofm.tasks.features.results import VideoFeatures
from endofm.tasks.result_rows import html_table
from endofm.video.frames import Float64Array

if TYPE_CHECKING:
    import pandas

_Place = TypeVar("_Place", Path, Address)

_SHOWN = 20


class StackedClips(NamedTuple):
    """Clip embeddings of several videos in one array.

    Attributes:
        embeddings: float32 ``(clips, embed_dim)``.
        videos: Name of the video of each clip.
        start_seconds: float64 ``(clips,)``, seconds after the first frame of the clip's video.
        end_seconds: float64 ``(clips,)``.
    """

    embeddings: npt.NDArray[np.float32]
    videos: tuple[str, ...]
    start_seconds: Float64Array
    end_seconds: Float64Array

    def __repr__(self) -> str:
        return f"StackedClips({len(self.embeddings)} clips of {len(set(self.videos))} videos)"


class FeatureSet(Mapping[str, VideoFeatures]):
    """Features of many videos; a mapping from the video's name to its :class:`VideoFeatures`.

    A file is read each time that its name is looked up and is not kept, so that a set may be larger than memory.

    Args:
        files: Feature file of each name.

    Example:
        >>> features = FeatureSet.open("features/")  # doctest: +SKIP
        >>> features  # doctest: +SKIP
        FeatureSet(800 videos in features)
        >>> clips = features.stack()  # doctest: +SKIP
        >>> clips.embeddings.shape  # doctest: +SKIP
        (19200, 192)
    """

    def __init__(self, files: Mapping[str, str | Path | Address]) -> None:
        self.files = {name: located(path) for name, path in files.items()}

    @classmethod
    def open(cls, folder: str | Path | Address) -> FeatureSet:
        """List the feature files in a folder and below it, such as ``endofm extract`` writes; hidden files are skipped.

        In object storage the same is done below an address; each file is copied when it is read.

        Names are paths relative to the folder, without the suffix; in a Parquet data set they are those of the videos.

        Raises:
            InputError: If there is no such folder, no feature file in it, or two files of one name.
            StoreError: If a store does not answer.
        """
        folder = located(folder)
        if isinstance(folder, Address):
            return cls(_distinct(folder, _stored(folder)))
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder of features")
        if is_parquet_set(folder) and (parts := set_files(folder)):
            return cls(parts)
        found = [path for path in sorted(folder.rglob("*")) if not path.name.startswith(".") and is_feature_file(path)]
        named = ((path.relative_to(folder).as_posix().removesuffix(path.suffix), path) for path in found)
        return cls(_distinct(folder, named))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __getitem__(self, name: str) -> VideoFeatures:
        return VideoFeatures.load(self.files[name])

    def __repr__(self) -> str:
        folders = {str(path.parent) for path in self.files.values()}
        where = f" in {min(folders, key=lambda name: len(PurePath(name).parts))}" if folders else ""
        return f"FeatureSet({len(self)} {'video' if len(self) == 1 else 'videos'}{where})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks: the names of the videos, up to twenty of them."""
        rest = len(self) - _SHOWN
        more = [("...", f"{rest} more")] if rest > 0 else []
        files = [(name, path.name) for name, path in list(self.files.items())[:_SHOWN]]
        return html_table(repr(self), files + more)

    def stack(self) -> StackedClips:
        """Read the clip embeddings of all videos into one array, in the order of the set.

        Raises:
            InputError: If the set is empty, or the files were extracted with different weights.
            FeatureFileError: If a file is damaged.
        """
        if not self.files:
            raise InputError("this set has no feature files")
        parts: list[VideoFeatures] = []
        videos: list[str] = []
        for name, video in self.items():
            first = parts[0] if parts else video
            checksums = [(one.provenance.get("weights") or {}).get("sha256") for one in (first, video)]
            if video.embed_dim != first.embed_dim or checksums[0] != checksums[1]:
                raise InputError(
                    f"{self.files[name]}: extracted with other weights than {next(iter(self.files.values()))}; "
                    "embeddings of different weights cannot be compared"
                )
            # Patch tokens may be on disk, and are not kept open.
            parts.append(replace(video, frame_embeddings=None, patch_tokens=None))
            videos += [name] * len(video)
        return StackedClips(
            np.concatenate([part.embeddings for part in parts]),
            tuple(videos),
            np.concatenate([part.start_seconds for part in parts]),
            np.concatenate([part.end_seconds for part in parts]),
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table: one row per clip, columns ``video``, ``start_seconds``, ``end_seconds``, ``e0``, ``e1``, ...

        Raises:
            InputError: As :meth:`stack`.
            MissingExtraError: If pandas is not installed.
        """
        clips = self.stack()
        columns = [f"e{column}" for column in range(clips.embeddings.shape[1])]
        frame: pandas.DataFrame = require_extra("pandas", "pandas", "A table of features").DataFrame(
            clips.embeddings, columns=columns
        )
        for place, name in enumerate(("videos", "start_seconds", "end_seconds")):
            frame.insert(place, "video" if name == "videos" else name, getattr(clips, name))
        return frame


def _stored(folder: Address) -> Iterator[tuple[str, Address]]:
    """Yield name and address of the feature files below an address; a Parquet data set is known by its manifest."""
    files = stored_feature_files(folder)
    if folder.suffix == SET_SUFFIX:
        named = {entry.output: str(entry.summary.get("video", "")) for entry in read_entries(folder)}
        return ((named[name], file) for name, file in files.items() if name in named)
    return ((name.removesuffix(file.suffix), file) for name, file in files.items())


def _distinct(folder: Path | Address, named: Iterable[tuple[str, _Place]]) -> dict[str, _Place]:
    """Return files by their names; raises InputError if there is none, or two of one name."""
    files: dict[str, _Place] = {}
    for name, path in named:
        if name in files:
            raise InputError(f"{path} and {files[name]}: two feature files of one video; keep one of them")
        files[name] = path
    if not files:
        raise InputError(f"{folder}: there are no feature files ({', '.join(FEATURE_SUFFIXES)}) in it")
    return files
