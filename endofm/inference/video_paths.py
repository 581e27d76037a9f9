"""Videos of a list of paths, and the names of their outputs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from endofm.address import Address, is_address, located
from endofm.errors import InputError, StoreError
from endofm.list_lines import exists
from endofm.list_table import read_paths
from endofm.video.find import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_objects, find_recordings


@dataclass(frozen=True)
class VideoItem:
    """A video of a batch job.

    Attributes:
        path: The file, or a folder of frames, or the address of an object.
        output: Name of its output without the format's suffix: the path relative to the given folder, with the video's
            own suffix, so that ``a/x.mp4``, ``b/x.mp4`` and ``a/x.avi`` have different names.
        name: Name of the recording where its output has another one; else empty.
    """

    path: Path | Address
    output: str
    name: str = ""


class FoundVideos(list[VideoItem]):
    """Videos of some paths, and in ``left_out`` path and sentence for what else was found and might have been meant."""

    def __init__(self, items: Iterable[VideoItem], left_out: Iterable[tuple[str, str]]) -> None:
        super().__init__(items)
        self.left_out = tuple(left_out)


def find_videos(paths: Iterable[str | Path | Address], listed: Iterable[str | Path | Address] = ()) -> FoundVideos:
    """Return the videos of some paths.

    A video that is named twice, in whatever spelling or through a link, is one video. Different videos of one name in
    different folders are named after these as well: ``a/x.mp4`` and ``b/x.mp4``.

    Args:
        paths: Files; folders, searched with all folders below for videos, whatever their suffix, and for folders that
            hold images and no video, each of which is one video. Hidden files are skipped. Addresses of objects, which
            are opened by the work alone, or of what holds objects, whose videos are found by their names.
        listed: The same from lists. Of these a path that does not exist, or a folder without videos, is returned as a
            video too: opening it fails, like that of a damaged one, and does not stop the job.

    Returns:
        Videos in the order of ``paths`` and ``listed``, those of one folder in natural order.

    Raises:
        InputError: If one of ``paths`` does not exist or holds no video.
        StoreError: If a store does not answer when it is asked for what is below one of ``paths``.
    """
    items: list[VideoItem] = []
    left_out: list[tuple[str, str]] = []
    named = chain(((located(path), True) for path in paths), ((located(path), False) for path in listed))
    for path, strict in named:
        if isinstance(path, Address):
            below, others = _stored(path, strict=strict)
            items += below
            left_out += others
            continue
        # A folder of arrays is one thing, like a file: saved features are named among videos.
        is_folder = exists(path) and path.is_dir() and path.suffix != ".zarr"
        found = find_recordings(path) if is_folder else None
        if found is not None and found.paths:
            items += [VideoItem(path / name, path.resolve().name if name == "." else name) for name in found.paths]
            left_out += [(str(path / name), reason) for name, reason in found.left_out]
        elif strict and found is not None:
            raise InputError(found.describe_nothing(path))
        elif strict and not exists(path):
            raise InputError(f"{path}: there is no such file or folder")
        else:
            items.append(VideoItem(path, path.name if path.name not in ("", "..") else path.resolve().name))
    return FoundVideos(_distinct(items), left_out)


def _stored(address: Address, *, strict: bool) -> tuple[list[VideoItem], list[tuple[str, str]]]:
    """Return the videos below an address, or the one that it is of, and what was left out."""
    named = address.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES and not address.url.endswith("/")
    plain = named or address.listed is not None
    try:
        found = None if plain or address.scheme == "https" else find_objects(address)
    except StoreError:
        if strict:
            raise
        found = None
    if found is None or not (found.addresses or strict):
        return [VideoItem(address, address.name)], []
    if not found.addresses:
        raise InputError(found.rest.describe_nothing(address))
    items = [VideoItem(video, name) for name, video in found.addresses.items()]
    return items, [(str(address / name), reason) for name, reason in found.rest.left_out]


def read_list(path: str | Path) -> list[Path | Address]:
    """Return the paths and addresses of a list; relative paths start at the file's folder.

    Args:
        path: A file with one path per line, or a table with a column of paths (:mod:`endofm.list_table`).

    Raises:
        InputError: If the file cannot be read.
    """
    return [located(name) if is_address(name) else Path(path).parent / name for name in read_paths(path)]


def _distinct(items: Iterable[VideoItem]) -> list[VideoItem]:
    """Return each video once, with a name of its output that no other one has."""
    videos: dict[str, VideoItem] = {}
    for item in items:
        real = item.path.url if isinstance(item.path, Address) else os.path.realpath(item.path)
        videos.setdefault(real, item)
    counts = Counter(item.output for item in videos.values())
    taken = set(counts)
    outputs = {real: item.output for real, item in videos.items()}
    for output in [name for name, count in counts.items() if count > 1]:
        group = [real for real, item in videos.items() if item.output == output]
        # As many folders before the name as tell the videos apart; whole paths do.
        for length in range(2, max(len(Path(real).parts) for real in group)):
            names = {real: "/".join(Path(real).parts[1:][-length:]) for real in group}
            if len(set(names.values())) == len(group) and taken.isdisjoint(names.values()):
                break
        outputs.update(names)
        taken.update(names.values())
    return [replace(item, output=outputs[real]) for real, item in videos.items()]
