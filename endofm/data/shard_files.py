"""Tar shards in the WebDataset format: writing and sequential reading."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from endofm.address import SCHEMES, Address, is_address, without_secrets
from endofm.data.clip_table import ClipTable
from endofm.errors import InputError, JobError, VideoError, require_extra
from endofm.files import atomic_path, write_text
from endofm.json_text import parse_json
from endofm.progress import progress_bar
from endofm.resume import exclusive, file_state
from endofm.video.object_file import open_remote

INDEX_NAME = "shards.json"
"""Index file next to the shards: the number of clips in each of them, and the names of the classes."""

_WAITS_SECONDS = (0.0, 1.0, 10.0)
"""Waits before each attempt to read a shard from a store, beyond what the store's own client tries again."""
_TIMEOUT_SECONDS = 60.0
_REQUIRED = {"id", "label", "patient", "index", "time_scale"}


@dataclass(frozen=True)
class PackedClip:
    """An encoded clip of a shard.

    Attributes:
        about: Name, class, patient, recording, times and index in the table that was packed.
        video: Content of the clip's file.
    """

    about: dict[str, Any]
    video: bytes


@dataclass(frozen=True)
class BrokenShard:
    """Placeholder of a shard, or a clip in it, that cannot be read.

    Attributes:
        name: The shard, or the clip in it.
        reason: The reason, as a sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class ShardIndex:
    """Content of ``shards.json``.

    Attributes:
        shards: Paths or addresses of the shards.
        clips: Number of clips in each.
        classes: Names of the classes.
    """

    shards: tuple[str, ...]
    clips: tuple[int, ...]
    classes: tuple[str, ...]


def write_shards(
    table: ClipTable,
    out: str | Path,
    *,
    clips_per_shard: int = 200,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Pack clips into tar files ``clips-00000.tar``, ... and write ``shards.json`` next to them.

    Each clip is a member ``<number>.mp4`` (or another suffix), unchanged, followed by ``<number>.json`` with its name,
    class, patient, recording and times. The order is shuffled once, because readers go through a shard from front to
    back. The numbers of clips in the shards differ by at most one, so that distributed processes have equal work. The
    same clips and seed give the same bytes, and where they are packed already nothing is done.

    Args:
        table: The clips; complete video files only.
        out: Folder for the shards.
        clips_per_shard: Maximum number of clips in a shard. 200 clips of 300 kB make 60 MB.
        seed: Seed of the order.
        overwrite: Replace the shards that are already in ``out``.
        progress: Show a progress bar.

    Returns:
        The shards.

    Raises:
        InputError: If a clip is a folder of frames or a part of a file, is missing, or ``clips_per_shard`` is below 1.
        JobError: If ``out`` is in use, or already holds shards of other clips and ``overwrite`` is not set.
    """
    if clips_per_shard < 1:
        raise InputError(f"clips_per_shard must be at least 1, got {clips_per_shard}")
    if len(table) == 0:
        raise InputError("there are no clips to pack")
    out = Path(out)
    with exclusive(out):
        digest = _digest(table, clips_per_shard, seed)
        # The index is written last: without it an earlier run was interrupted, and its files are replaced.
        if (out / INDEX_NAME).exists() and not overwrite:
            if not _is_packed(table, out / INDEX_NAME, digest):
                raise JobError(
                    f"{out} already holds other shards; choose another folder, or replace them with --overwrite"
                )
            return [Path(shard) for shard in read_index(str(out)).shards]
        _clear(out)
        return _pack(table, out, clips_per_shard, seed, digest, progress)


def _digest(table: ClipTable, clips_per_shard: int, seed: int) -> str:
    """Return a digest of everything that shards depend on except the content of the clips, whose sizes stand for it."""
    digest = hashlib.sha256(json.dumps([clips_per_shard, seed, list(table.classes)]).encode())
    for index in range(len(table)):
        size = file_state(Path(table.path[index]))[0]
        digest.update(json.dumps([_describe(table, index), size]).encode())
    return digest.hexdigest()


def _is_packed(table: ClipTable, index: Path, digest: str) -> bool:
    """Return whether a folder's shards were made of these clips, none of which has changed since."""
    try:
        packed = parse_json(index.read_bytes())
    except (OSError, ValueError):
        return False
    written = index.stat().st_mtime_ns
    return (
        isinstance(packed, dict)
        and packed.get("packed_from") == digest
        and all(file_state(Path(path))[1] <= written for path in table.path)
    )


def _clear(out: Path) -> None:
    """Remove the shards of a folder."""
    # The index goes first, so that it never lists shards that are gone.
    (out / INDEX_NAME).unlink(missing_ok=True)
    for shard in out.glob("clips-[0-9]*.tar"):
        shard.unlink()


def _pack(table: ClipTable, out: Path, clips_per_shard: int, seed: int, digest: str, progress: bool) -> list[Path]:
    order = np.random.default_rng(seed).permutation(len(table))
    parts = np.array_split(order, math.ceil(len(order) / clips_per_shard))
    shards: list[Path] = []
    with progress_bar(total=len(table), description="Packing", unit="clip", progress=progress) as bar:
        for number, indices in enumerate(parts):
            shards.append(out / f"clips-{number:05}.tar")
            with atomic_path(shards[-1]) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
                for index in indices.tolist():
                    _add_clip(tar, table, index)
                    bar.update(1)
    content = {
        "classes": list(table.classes),
        "packed_from": digest,
        "shards": [{"name": shard.name, "clips": len(part)} for shard, part in zip(shards, parts, strict=True)],
    }
    write_text(out / INDEX_NAME, json.dumps(content, indent=1) + "\n")
    return shards


def _add_clip(tar: tarfile.TarFile, table: ClipTable, index: int) -> None:
    path = Path(table.path[index])
    if not path.is_file():
        raise InputError(f"{path}: shards hold video files; this clip is a folder of frames, or is missing")
    if table.start[index] > 0 or np.isfinite(table.end[index]):
        raise InputError(f"{path}: shards hold complete files; cut the clip out first")
    with path.open("rb") as file:
        _add_member(tar, f"{index:08}{path.suffix.lower()}", file, path.stat().st_size)
    text = json.dumps(_describe(table, index)).encode()
    _add_member(tar, f"{index:08}.json", io.BytesIO(text), len(text))


def _describe(table: ClipTable, index: int) -> dict[str, Any]:
    return {
        "id": table.id[index],
        "label": int(table.label[index]),
        "patient": table.patient[index],
        "video": table.video[index],
        "split": table.split[index],
        "time_scale": float(table.time_scale[index]),
        "index": index,
    }


def _add_member(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    # Time, owner and permissions keep their defaults, so that equal clips give equal bytes.
    member.size = size
    tar.addfile(member, file)


def read_index(folder: str) -> ShardIndex:
    """Read ``shards.json`` from a folder or a URL.

    Raises:
        InputError: If it is missing or damaged.
    """
    source = f"{folder.rstrip('/')}/{INDEX_NAME}"
    try:
        with _open(source) as file:
            content = parse_json(file.read())
        shards = [(f"{folder.rstrip('/')}/{shard['name']}", int(shard["clips"])) for shard in content["shards"]]
        names, clips = zip(*shards, strict=True)
        return ShardIndex(names, clips, tuple(content["classes"]))
    except (OSError, VideoError) as error:
        shown = without_secrets(source)
        why = without_secrets(str(error)).removeprefix(f"{shown}: ")
        raise InputError(
            f"{shown} cannot be read ({why}); give the folder, or its URL, that `endofm data shard` filled"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{without_secrets(source)} is damaged ({error!r}); pack the shards again") from error


def read_shard(shard: str, clips: int) -> Iterator[PackedClip | BrokenShard]:
    """Yield the clips of a shard, and a :class:`BrokenShard` at the end if some of them are missing.

    A broken connection is opened again, and no clip is yielded twice.

    Args:
        shard: Path or URL.
        clips: Expected number of clips.
    """
    count, problem = 0, ""
    for wait in _WAITS_SECONDS if _is_address(shard) else (0.0,):
        time.sleep(wait)
        try:
            with _open(shard) as file, tarfile.open(fileobj=file, mode="r|") as tar:
                # A tar stream cannot be entered in its middle: after a break it is read again from the start, and
                # the clips that were already yielded are passed over.
                for index, packed in enumerate(_clips(shard, tar)):
                    if index >= count:
                        count += 1
                        yield packed
            problem = ""
        except Exception as error:  # whatever the opener of the address raises: network, pipe, tar
            problem = f" ({without_secrets(str(error))})"
        if count >= clips:
            return
    yield BrokenShard(without_secrets(shard), f"{count} of the {clips} clips of this shard could be read{problem}")


def _clips(shard: str, tar: tarfile.TarFile) -> Iterator[PackedClip | BrokenShard]:
    """Yield the clips of an open shard: consecutive members of one name, a video and its description."""
    key, parts = "", dict[str, bytes]()
    for member in tar:
        name, _, suffix = member.name.rpartition(".")
        if name != key and parts:
            yield _join(f"{shard}: {key}", parts)
            parts = {}
        file = tar.extractfile(member)
        if file is not None:
            key, parts[suffix] = name, file.read()
    if parts:
        # A tar that is cut off between two members just ends.
        if len(parts) < 2:
            raise VideoError(f"it ends within the clip {key}")
        yield _join(f"{shard}: {key}", parts)


def _join(name: str, parts: dict[str, bytes]) -> PackedClip | BrokenShard:
    try:
        about = parse_json(parts.pop("json"))
        if not about.keys() >= _REQUIRED:
            raise KeyError(", ".join(sorted(_REQUIRED - about.keys())))
        (video,) = parts.values()
    except (KeyError, ValueError, AttributeError) as error:
        return BrokenShard(name, f"not a clip as `endofm data shard` packs them ({error!r})")
    return PackedClip(about, video)


def _is_address(name: str) -> bool:
    return is_address(name) or name.startswith("pipe:")


def _open(name: str) -> IO[bytes]:
    """Open a file or a URL for sequential reading."""
    if not _is_address(name):
        return Path(name).open("rb")
    if name.startswith(("http://", "https://")):
        return cast("IO[bytes]", urllib.request.urlopen(name, timeout=_TIMEOUT_SECONDS))
    if is_address(name) and Address(name).scheme in SCHEMES:
        return open_remote(name, stream=True)[0]
    gopen = require_extra("webdataset.gopen", "data", f"Reading {name.partition(':')[0]}: URLs")
    try:
        return cast("IO[bytes]", gopen.gopen(name))
    except ValueError as error:
        raise VideoError(f"{name}: URLs of this kind are not supported ({error})") from error
