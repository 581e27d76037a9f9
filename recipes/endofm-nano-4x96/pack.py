"""Pack the pictures of a list into one file of at most 60 MB, to carry them to a machine with a GPU.

``python recipes/endofm-nano-4x96/pack.py pictures.csv pack.tar``

Image files are packed as they are and frames of recordings without loss, so that every picture, and with it every
target in a cache of the teachers' maps, is the same as with the list.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
from pathlib import Path

from PIL import Image

from endofm.data.clip_dataset import ClipDataset, SkippedClip
from endofm.data.frame_samplers import UniformFrames
from endofm.data.listing import read_clips
from endofm.files import atomic_path
from endofm.video.find import IMAGE_SUFFIXES

LIMIT = 60_000_000
"""Bytes."""


def packed(path: Path, clips: ClipDataset, row: int) -> tuple[str, bytes]:
    """Return suffix and content of a picture."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return path.suffix.lower(), path.read_bytes()
    sample = clips[row]
    if isinstance(sample, SkippedClip):
        raise SystemExit(f"{path}: {sample.reason}")
    buffer = io.BytesIO()
    Image.fromarray(sample.frames[0].numpy()).save(buffer, format="png")
    return ".png", buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    table = read_clips(args.list)
    clips = ClipDataset(table, sampler=UniformFrames(1))
    names = []
    with atomic_path(args.out) as temporary:
        with tarfile.open(temporary, "w") as archive:

            def add(name: str, content: bytes) -> None:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

            for row, path in enumerate(table.path):
                suffix, content = packed(Path(path), clips, row)
                names.append(f"{row:05}{suffix}")
                add(names[-1], content)
            add("pictures.csv", ("\n".join(["path", *names]) + "\n").encode())
        size = Path(temporary).stat().st_size
        if size > LIMIT:
            sys.exit(f"{args.out}: {size:,} bytes are more than {LIMIT:,}; list fewer or smaller pictures")
    print(f"{args.out}: {len(names)} pictures, {size:,} bytes")


if __name__ == "__main__":
    main()
