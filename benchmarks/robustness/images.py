"""Attacks on images: single files and folders of frames, damaged, absurdly large, or something else under that name."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.robustness.files import watched_events
from benchmarks.robustness.sandbox import Case, Outcome, generator
from benchmarks.robustness.videos import MUTATIONS

FORMATS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}
SIZE = (64, 48)

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n(x) (w) file\nshowpage\n%%EOF\n"
DISGUISES: tuple[bytes, ...] = (
    POSTSCRIPT, b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(POSTSCRIPT)) + bytes(20) + POSTSCRIPT,
    b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:1/x"/></svg>',
    b"push graphic-context\nimage over 0,0 0,0 'http://x'\n", b"GIF89a" + bytes(200),
    b"\x00\x00\x01\x00\x01\x00" + bytes(200), b"P6\n60000 60000\n255\n", b"P6 " + b"9" * 5000 + b" 1 255\n",
    b"#EXTM3U\nhttp://127.0.0.1:1/x\n", b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", b"", b"\x00", b"BM" + b"\xff" * 60,
    b"RIFF\xff\xff\xff\xffWEBPVP8X", b"II*\x00\x08\x00\x00\x00" + b"\xff" * 500, b"MM\x00*\x00\x00\x00\x08\x00\x00",
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"qoif" + bytes(50), b"8BPS" + bytes(60),
)  # fmt: skip
"""Contents of other formats, some of which start programs or name addresses."""


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks on images, spread evenly over formats."""
    _images()
    rows = [*FORMATS, "other"]
    for number in range(count):
        row = rows[number % len(rows)]
        yield Case(f"image {row}", f"#{number} seed {seed}", _bind(row, number, seed))


def _bind(row: str, number: int, seed: int) -> Callable[[], tuple[Outcome, str]]:
    def run() -> tuple[Outcome, str]:
        rng = generator(seed, "images", number)
        if row == "other":
            content, suffix = rng.choice((*DISGUISES, _bomb(rng))), rng.choice(list(FORMATS.values()))
            what = f"{content[:12]!r} as {suffix}"
        else:
            what, suffix = rng.choice(list(MUTATIONS)), FORMATS[row]
            content = bytes(MUTATIONS[what](bytearray(_images()[row]), rng))
        return _judge(content, suffix, what, rng, row)

    return run


def _judge(content: bytes, suffix: str, what: str, rng: Random, row: str) -> tuple[Outcome, str]:
    """Read a damaged image alone, as bytes or among intact frames; compare it with the undamaged one."""
    import numpy as np

    from endofm.video.open import open_video

    way = rng.choice(("file", "bytes", "folder"))
    events = watched_events()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in (0, 2):
            (folder / f"{number}{suffix}").write_bytes(_images()[row if row in FORMATS else "PNG"])
        (folder / f"1{suffix}").write_bytes(content)
        source: Any = {"file": folder / f"1{suffix}", "bytes": content, "folder": folder}[way]
        try:
            with open_video(source, fps=None if way == "bytes" else 10.0) as video:
                frames = [frame.data for frame in video]
                problems = video.problems
        finally:
            started = list(events)
            events.clear()
    if started:
        return Outcome.FOREIGN, f"{what}: {started[0]}"
    if problems:
        return Outcome.REPORTED, problems[0]
    if way == "folder" and len(frames) != 3:
        return Outcome.SILENT, f"{what}: {len(frames)} of 3 frames"
    if row == "other":
        return Outcome.SILENT, f"{what} was read as {len(frames)} frames"
    frame = frames[1 if way == "folder" else 0]
    if frame.shape != (SIZE[1], SIZE[0], 3):
        return Outcome.UNDETECTABLE, f"{what}: {frame.shape}"
    same = np.array_equal(frame, _pixels(row))
    # Only PNG has checksums: its pixels are right, or the image is damaged.
    if same:
        return Outcome.OK, what
    return (Outcome.SILENT if row == "PNG" else Outcome.UNDETECTABLE), f"{what}: other pixels"


@lru_cache(maxsize=1)
def _images() -> dict[str, bytes]:
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    picture = Image.fromarray(np.stack([x * 3, y * 4, (x + y) * 2], -1).astype(np.uint8))
    found = {}
    for name in FORMATS:
        file = io.BytesIO()
        picture.save(file, name, **({"compression": "tiff_lzw"} if name == "TIFF" else {}))
        found[name] = file.getvalue()
    return found


@cache
def _pixels(name: str) -> Any:
    from endofm.video.open import open_video

    with open_video(_images()[name]) as video:
        return next(iter(video)).data


def _bomb(rng: Random) -> bytes:
    """Return a PNG of a few bytes that states a size of gigapixels."""
    width, height = rng.choice(((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 5), (13_000, 13_000)))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(10**6))),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
