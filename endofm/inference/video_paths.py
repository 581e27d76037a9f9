"""Which videos a list of paths means, and what their outputs are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from endofm.errors import InputError
from endofm.video.find import walk


@dataclass(frozen=True)
class VideoItem:
    """One video of a job.

    Attributes:
        path: The file, or a folder of frames.
        output: Name of its output without the format's suffix: the path below the folder that was given, with the
            video's own suffix, so that ``a/x.mp4``, ``b/x.mp4`` and ``a/x.avi`` stay apart.
    """

    path: Path
    output: str


def find_videos(paths: Iterable[str | Path]) -> list[VideoItem]:
    """Return the videos that paths mean.

    Args:
        paths: Files; folders, searched through with all folders below for files with a suffix of a video; folders
            that hold images and no video, each of which is one video. Hidden files are passed over.

    Returns:
        Videos in the order given, those of one folder in natural order.

    Raises:
        InputError: If a path does not exist, a folder holds no video, or two outputs would have the same name.
    """
    items: list[VideoItem] = []
    for path in map(Path, paths):
        if path.is_dir():
            items.extend(_in_folder(path))
        elif path.exists():
            items.append(VideoItem(path, path.name))
        else:
            raise InputError(f"{path}: there is no such file or folder")
    unique = list(dict.fromkeys(items))
    taken = Counter(item.output for item in unique)
    for name, count in taken.items():
        if count > 1:
            sources = " and ".join(str(item.path) for item in unique if item.output == name)
            raise InputError(
                f"{sources} would both be written as {name}; give the folder above them, or extract them into "
                f"different output folders"
            )
    return unique


def read_list(path: str | Path) -> list[Path]:
    """Return the paths in a text file, one a line; relative ones are meant from the file's own folder.

    Raises:
        InputError: If the file cannot be read.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: this list cannot be read ({error})") from error
    return [path.parent / line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _in_folder(folder: Path) -> list[VideoItem]:
    videos, folders = walk(folder)
    if not videos and not folders:
        raise InputError(f"{folder}: there are no videos and no images in this folder or below it")
    return [VideoItem(folder / name, folder.resolve().name if name == "." else name) for name in videos or folders]
