"""Finding recordings on disk, videos and folders of frames, and videos in object storage, in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from endofm.address import Address, objects_below
from endofm.errors import VideoError
from endofm.json_text import parse_json
from endofm.output_place import place_of
from endofm.resume import LOCK_NAME, manifest_name

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset(
    [
        *(".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265"),
        *(".hevc", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov"),
        *(".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts"),
        *(".vob", ".webm", ".wmv", ".wtv", ".y4m"),
    ]
)
"""Suffixes of videos, whose content is not looked at until they are opened; others are recognised by content."""

_OTHER_SUFFIXES = frozenset(
    [
        *(".bash", ".bat", ".c", ".cfg", ".conf", ".cpp", ".css", ".csv", ".h", ".htm", ".html", ".ini", ".ipynb"),
        *(".js", ".json", ".jsonl", ".log", ".m", ".md", ".py", ".pyc", ".r", ".rst", ".sh", ".srt", ".tex", ".toml"),
        *(".ass", ".tsv", ".txt", ".vtt", ".xml", ".yaml", ".yml"),
        *(".doc", ".docx", ".lnk", ".odt", ".pdf", ".ppt", ".pptx", ".rtf", ".url", ".xls", ".xlsx"),
        *(".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"),
        *(".bin", ".ckpt", ".db", ".h5", ".hdf5", ".mat", ".npy", ".npz", ".onnx", ".parquet", ".pkl", ".pt", ".pth"),
        *(".safetensors", ".sqlite"),
        *(".aac", ".flac", ".m4a", ".mp3", ".wav", ".wma"),
    ]
)
"""Suffixes of files that are no recordings; their content is never looked at."""

_RESULTS = "this folder holds results of an endofm command"

# FFmpeg reads up to 1 MiB of a file before it gives up, 70 ms each; the beginning of a recording says the same.
_PROBE_BYTES = 1 << 16


class Tree(NamedTuple):
    """Files below a folder, as relative paths with forward slashes in natural order.

    Attributes:
        videos: Files with the suffix of a video.
        folders: Folders that directly hold images, ``"."`` for the folder itself.
        others: Files whose suffix says nothing.
        closed: Name and sentence for every folder that was not searched.
    """

    videos: list[str]
    folders: list[str]
    others: list[str]
    closed: list[tuple[str, str]]


class Recordings(NamedTuple):
    """Recordings below a folder.

    Attributes:
        paths: Relative paths of videos and folders of frames, with forward slashes in natural order.
        left_out: Name and sentence for everything else that might have been meant.
    """

    paths: list[str]
    left_out: list[tuple[str, str]]

    def describe_nothing(self, root: Path | Address) -> str:
        """Return the message for a folder without any recording, with what was found instead."""
        named = "; ".join(f"{name}: {reason}" for name, reason in self.left_out[:3])
        return f"{root}: there are no videos and no images in this folder or below it{f' ({named})' if named else ''}"


class StoredVideos(NamedTuple):
    """Videos below an address.

    Attributes:
        addresses: Their addresses by their names relative to it, in natural order.
        rest: The same names without addresses, and what was left out.
    """

    addresses: dict[str, Address]
    rest: Recordings


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key in which numbers count as numbers, and before letters: ``img_2`` before ``img_10``."""
    # Every second part is a run of ASCII digits; other digits, such as a superscript two, count as letters.
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part)


def naturally(names: Iterable[str]) -> list[str]:
    """Return names in natural order."""
    return sorted(names, key=natural_key)


def find_recordings(root: Path) -> Recordings:
    """Find every recording below ``root`` that can be read: videos whatever their suffix, and folders of frames.

    Images in one folder with videos are taken for thumbnails, and left out like everything that is named in the result.
    """
    tree = walk(root)
    reasons = {name: _why_no_video(root / name) for name in tree.others}
    videos = [*tree.videos, *(name for name, reason in reasons.items() if not reason)]
    holding_videos = {Path(name).parent.as_posix() for name in videos}
    left_out = [(name, reason) for name, reason in reasons.items() if reason]
    beside = "its images are not taken for frames, because it also holds videos; give the frames a folder of their own"
    left_out += [(name, beside) for name in tree.folders if name in holding_videos]
    frames = [name for name in tree.folders if name not in holding_videos]
    ordered = sorted([*left_out, *tree.closed], key=lambda entry: natural_key(entry[0]))
    return Recordings(naturally([*videos, *frames]), ordered)


def find_objects(root: Address) -> StoredVideos | None:
    """Find every video below an address by the suffix of its name, without reading any.

    Objects of unknown suffixes and folders of images are left out and named in the result, those of known other kinds
    and hidden ones are skipped, and so are the results of a command on many videos.

    Returns:
        The videos; None if there is nothing below the address, so that it can only be that of an object.

    Raises:
        StoreError: If the store does not answer.
    """
    objects = objects_below(root)
    if not objects:
        return None
    results = {
        f"{folder}/"
        for folder, _, name in (name.rpartition("/") for name in objects)
        if folder and name == manifest_name(folder) and _is_job_manifest(partial((place_of(root) / folder).read, name))
    }
    videos: list[str] = []
    left_out = {folder.rstrip("/"): _RESULTS for folder in results}
    for name in objects:
        folder, _, last = name.rpartition("/")
        suffix = PurePosixPath(last).suffix.lower()
        if any(part.startswith(".") for part in name.split("/")) or name.startswith(tuple(results)):
            continue
        if suffix in VIDEO_SUFFIXES:
            videos.append(name)
        elif suffix in IMAGE_SUFFIXES:
            left_out[folder or "."] = "a folder of images is read as a video on a disk only; copy it there"
        elif suffix not in _OTHER_SUFFIXES:
            left_out[name] = "its name does not say that this is a video; name it by its own address if it is one"
    ordered = naturally(videos)
    addresses = {name: Address((root / name).url, listed=objects[name]) for name in ordered}
    return StoredVideos(addresses, Recordings(ordered, sorted(left_out.items(), key=lambda one: natural_key(one[0]))))


def walk(root: Path) -> Tree:
    """Find video files and folders of images below ``root``, by their names.

    Hidden files and folders and arrays (``.zarr``) are left out, and so are folders with the results of a command on
    many videos.
    """
    videos: list[str] = []
    folders: list[str] = []
    others: list[str] = []
    closed: list[tuple[str, str]] = []

    def note(error: OSError) -> None:
        name = Path(error.filename or root).relative_to(root).as_posix()
        closed.append((name, f"this folder cannot be read ({error.strerror or error})"))

    # Links are followed, and a folder is searched once: a link to a folder above it would repeat everything for ever.
    visited = {_identity(root)}
    for current, subfolders, files in os.walk(root, followlinks=True, onerror=note):
        relative = Path(current).relative_to(root)
        if (
            relative != Path()
            and LOCK_NAME in files
            and _is_job_manifest(Path(current, manifest_name(current)).read_bytes)
        ):
            # Timelines and painted videos of an earlier run, often below the folder of its videos.
            closed.append((relative.as_posix(), _RESULTS))
            subfolders[:] = []
            continue
        # In place: os.walk then does not descend into hidden folders. In order, so that the first of several names of
        # a folder is the same on every system.
        subfolders[:] = [name for name in naturally(subfolders) if not (name[:1] == "." or name.endswith(".zarr"))]
        new = {name: _identity(Path(current, name)) for name in subfolders}
        for name, identity in list(new.items()):
            if identity in visited:
                del new[name]
            visited.add(identity)
        subfolders[:] = list(new)
        suffixes = [(name, Path(name).suffix.lower()) for name in files if not name.startswith(".")]
        videos += [(relative / name).as_posix() for name, suffix in suffixes if suffix in VIDEO_SUFFIXES]
        known = VIDEO_SUFFIXES | IMAGE_SUFFIXES | _OTHER_SUFFIXES
        others += [(relative / name).as_posix() for name, suffix in suffixes if suffix not in known]
        if any(suffix in IMAGE_SUFFIXES for _, suffix in suffixes):
            folders.append(relative.as_posix())
    return Tree(naturally(videos), naturally(folders), naturally(others), closed)


def _is_job_manifest(read: Callable[[], bytes]) -> bool:
    """Return whether a manifest is that of a job over many videos, and not of prepared or rendered clips."""
    try:
        return "videos" in dict(parse_json(read()))
    except (OSError, ValueError, TypeError):
        return False


def _why_no_video(path: Path) -> str:
    """Return why a file of unknown kind is no video, as a sentence without its name; empty if it is one."""
    # Imported here: most folders hold nothing of an unknown kind, and sorting names needs no decoder.
    from endofm.video.container import MediaSource, video_stream
    from endofm.video.dicom_source import why_no_recording
    from endofm.video.open import is_dicom

    # A pipe would be waited for, and a device read.
    if not path.is_file():
        return "this is neither a regular file nor a folder"
    start = _start(path)
    if _is_text(start):
        return "this is a text file"
    try:
        if is_dicom(start):
            return why_no_recording(MediaSource(path, ""))
        with MediaSource(path, "").open(probe_bytes=_PROBE_BYTES) as container:
            video = video_stream(container, "").codec_context
            if container.format.name.endswith("_pipe"):
                return f"this is a single image; frames are {', '.join(sorted(IMAGE_SUFFIXES))}"
            # Random bytes can look like a raw stream, whose header then says nothing.
            return "" if video.width and video.height else "no video was recognised in it"
    except VideoError as error:
        return str(error).removeprefix(": ")


def _start(path: Path) -> bytes:
    """Return the beginning of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _is_text(start: bytes) -> bool:
    """Return whether a file begins as text; nearly all files of unknown kinds do, and FFmpeg is slow to refuse them."""
    # The only video whose header is text.
    return (
        bool(start) and not start.startswith(b"YUV4MPEG2") and not re.search(rb"[^\t\n\f\r\x20-\x7e\x80-\xff]", start)
    )


def _identity(folder: Path) -> tuple[int, int] | str:
    """Return what a folder is, whatever the path to it: device and number, or its resolved path without these."""
    try:
        state = folder.stat()
    except OSError:
        return str(folder)
    return (state.st_dev, state.st_ino) if state.st_ino else str(folder.resolve())
