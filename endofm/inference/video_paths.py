"""Videos of a list of paths, and the names of their outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from endofm.errors import InputError
from endofm.video.find import find_recordings


@dataclass(frozen=True)
class VideoItem:
    """A video of a batch job.

    Attributes:
        path: The file, or a folder of frames.
        output: Name of its output without the format's suffix: the path relative to the given folder, with the video's
            own suffix, so that ``a/x.mp4``, ``b/x.mp4`` and ``a/x.avi`` have different names.
    """

    path: Path
    output: str


class FoundVideos(list[VideoItem]):
    """Videos of some paths, and in ``left_out`` path and sentence for what else was found and might have been meant."""

    def __init__(self, items: Iterable[VideoItem], left_out: Iterable[tuple[str, str]]) -> None:
        super().__init__(items)
        self.left_out = tuple(left_out)


def find_videos(paths: Iterable[str | Path]) -> FoundVideos:
    """Return the videos of some paths.

    Args:
        paths: Files; folders, searched with all folders below for videos, whatever their suffix, and for folders that
            hold images and no video, each of which is one video. Hidden files are skipped.

    Returns:
        Videos in the order of ``paths``, those of one folder in natural order.

    Raises:
        InputError: If a path does not exist, a folder holds no video, or two outputs would have the same name.
    """
    items: list[VideoItem] = []
    left_out: list[tuple[str, str]] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = find_recordings(path)
            if not found.paths:
                raise InputError(found.describe_nothing(path))
            items += [VideoItem(path / name, path.resolve().name if name == "." else name) for name in found.paths]
            left_out += [(str(path / name), reason) for name, reason in found.left_out]
        elif path.exists():
            items.append(VideoItem(path, path.name))
        else:
            raise InputError(f"{path}: there is no such file or folder")
    # A path that is given twice is one video; different videos with one output name are an error.
    unique = list(dict.fromkeys(items))
    taken = Counter(item.output for item in unique)
    for name, count in taken.items():
        if count > 1:
            sources = " and ".join(str(item.path) for item in unique if item.output == name)
            raise InputError(
                f"{sources} would both be written as {name}; give the folder above them, or use different "
                f"output folders"
            )
    return FoundVideos(unique, left_out)


def read_list(path: str | Path) -> list[Path]:
    """Return the paths in a text file with one path per line; relative ones start at the file's folder.

    Raises:
        InputError: If the file cannot be read.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: this list cannot be read ({error})") from error
    return [path.parent / line.strip() for line in lines if line.strip() and not line.startswith("#")]
