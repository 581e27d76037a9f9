"""Results that other commands have saved: features to report, and predictions to show in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from endofm.address import NO_STATE, Address, full_name, located, objects_below
from endofm.errors import InputError, StoreError
from endofm.inference.job_manifest import read_entries
from endofm.inference.video_paths import VideoItem
from endofm.output_place import place_of
from endofm.resume import manifest_name
from endofm.tasks.features.files import FEATURE_SUFFIXES, is_feature_file
from endofm.tasks.features.parquet_set import SET_SUFFIX
from endofm.tasks.features.results import VideoFeatures


class SavedFeatures(NamedTuple):
    """Feature files among the inputs of a command.

    Attributes:
        names: Name of the output of each file, without suffix.
        videos: Video of each file by the file's path, as far as a manifest names it.
        others: The inputs that are no saved features.
    """

    names: dict[Path | Address, str]
    videos: dict[str, str]
    others: list[str]


def split_saved_features(paths: Iterable[str]) -> SavedFeatures:
    """Separate feature files, and folders that ``endofm extract`` has written, from videos.

    Raises:
        InputError: If a folder holds the results of another command.
    """
    found = SavedFeatures({}, {}, [])
    for text in paths:
        path = located(text)
        # The address of a data set of many videos has the suffix of a file.
        is_set = isinstance(path, Address) and path.suffix == SET_SUFFIX and has_results(path)
        if names_features(path) and not is_set:
            found.names[path] = path.name.removesuffix(path.suffix)
        elif is_set or has_results(path):
            states = objects_below(path) if isinstance(path, Address) else {}
            for entry in read_entries(path):
                file = path / entry.output
                if isinstance(file, Address):
                    file = replace(file, listed=states.get(entry.output, NO_STATE))
                if file.suffix.lower() not in FEATURE_SUFFIXES:
                    raise InputError(
                        f"{path}: this folder holds no features but other results ({entry.output}); name the videos, "
                        "and give the folder to --classify, --segment or --detect"
                    )
                found.names[file] = str(entry.summary.get("video") or entry.output.removesuffix(file.suffix))
                found.videos[str(file)] = entry.source
        else:
            found.others.append(text)
    return found


def names_features(path: Path | Address) -> bool:
    """Return whether a path is that of a feature file; an address is by its suffix."""
    return is_feature_file(path) if isinstance(path, Path) else path.suffix.lower() in FEATURE_SUFFIXES


def has_results(folder: Path | Address) -> bool:
    """Return whether a folder or an address holds the results of a command on many videos."""
    if isinstance(folder, Address) and folder.scheme == "https":
        return False
    return place_of(folder).existing_file(manifest_name(folder))


def require_distinct(items: Iterable[VideoItem]) -> None:
    """Raise an error if two items have one output, such as a video and its own features.

    Raises:
        InputError: Naming the output.
    """
    counts = Counter(item.output for item in items)
    twice = next((output for output, count in counts.items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is named twice, as a video and as saved features or in two sets; name it once")


def video_of(file: Path | Address, features: VideoFeatures, videos: Mapping[str, str]) -> Path | Address | None:
    """Return the video of a feature file: the one that its manifest names, or one of its name next to the file.

    Args:
        file: The feature file.
        features: Its features.
        videos: As :class:`SavedFeatures` has them.
    """
    name = str((features.provenance.get("video") or {}).get("name") or "")
    # Of a name from a file only the last part is used: it must not lead elsewhere.
    candidates = [located(videos[str(file)])] if str(file) in videos else []
    candidates += [file.parent / Path(name).name] if Path(name).name else []
    return next((path for path in candidates if path != file and _exists(path)), None)


def _exists(path: Path | Address) -> bool:
    if isinstance(path, Path):
        return path.exists()
    try:
        return path.stat().st_size >= 0
    except StoreError:
        return False


@dataclass(frozen=True)
class SavedPredictions:
    """Predictions in a folder of ``endofm classify``, ``segment`` or ``detect``.

    Attributes:
        folder: The folder or address.
        files: Result file of each video by the video's full name.
    """

    folder: Path | Address
    files: Mapping[str, Path | Address]

    @classmethod
    def open(cls, folder: Path | Address) -> SavedPredictions:
        """List the results of a folder.

        Raises:
            InputError: If it has no manifest, or its results are not in files that can be read (``.json``).
        """
        entries = read_entries(folder)
        wrong = next((entry.output for entry in entries if not entry.output.endswith(".json")), None)
        if wrong is not None:
            raise InputError(f"{folder}: saved predictions are read from .json files, and {wrong} is none")
        return cls(folder, {full_name(entry.source): folder / entry.output for entry in entries})

    def find(self, video: Path | Address) -> Path | Address | None:
        """Return the result file of a video; None if there is none."""
        return self.files.get(full_name(video))
