"""Decoded items on disk: decoded once, read by every encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from endofm.bench.probe_set import BenchItem, ProbeSet
from endofm.errors import EndoFMError, VideoError, reason
from endofm.evaluation.report import write_json
from endofm.files import atomic_path
from endofm.json_text import read_json
from endofm.progress import progress_bar
from endofm.video.frames import UInt8Array

Shape = tuple[int, int, int, int, int]


class DecodedItems:
    """Pixels of all items of a set, memory-mapped.

    Args:
        file: Their bytes, one item after the other.
        shapes: Shape of each, ``(clips, time, height, width, 3)``.
    """

    def __init__(self, file: Path, shapes: list[Shape]) -> None:
        self._bytes = np.memmap(file, np.uint8, "r")
        self._shapes = shapes
        self._ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def __len__(self) -> int:
        return len(self._shapes)

    def batches(self, clips: int) -> Iterator[list[UInt8Array]]:
        """Yield the items in order, in copies, at most so many clips at a time but at least one item."""
        batch: list[UInt8Array] = []
        count = 0
        for index, shape in enumerate(self._shapes):
            if batch and count + shape[0] > clips:
                yield batch
                batch, count = [], 0
            size = int(np.prod(shape))
            batch.append(np.array(self._bytes[self._ends[index] - size : self._ends[index]]).reshape(shape))
            count += shape[0]
        if batch:
            yield batch


@contextmanager
def decoded_items(data: ProbeSet, folder: Path, digest: str) -> Iterator[DecodedItems]:
    """Decode the items of a set, or open what an earlier process decoded completely; removed when the block succeeds.

    Args:
        data: The set.
        folder: Folder for the decoded pixels, as large as the pixels are.
        digest: Checksum of what is shown, see :meth:`ProbeSet.pixels_digest`.

    Raises:
        VideoError: If an item cannot be read; the message names it.
    """
    pixels, index = folder / f"{digest}.pixels", folder / f"{digest}.json"
    if not (pixels.is_file() and index.is_file()):
        shapes: list[Shape] = []
        with (
            atomic_path(pixels) as temporary,
            temporary.open("wb") as file,
            progress_bar(total=len(data.items), description="decoding", unit="item") as bar,
        ):
            for item in data.items:
                shown = _read(item)
                shapes.append(shown.shape)
                file.write(shown.tobytes())
                bar.update()
        # After the pixels: an index stands for complete ones.
        write_json(index, {"shapes": shapes})
    yield DecodedItems(pixels, [tuple(shape) for shape in read_json(index)["shapes"]])
    for path in (index, pixels):
        path.unlink(missing_ok=True)


def _read(item: BenchItem) -> UInt8Array:
    try:
        return item.read()
    except Exception as error:
        # Without it, the scores of this machine would be those of another set.
        text = str(error) if isinstance(error, EndoFMError) else f"{item.files[0]}: {reason(error)}"
        raise VideoError(f"{text}; the scores need every item: repair or replace this file") from error
