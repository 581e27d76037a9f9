"""The masks of a whole video, held in run lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from endofm.errors import InputError
from endofm.progress import progress_bar
from endofm.tasks.segmentation import run_lengths
from endofm.tasks.segmentation.frame_mask import FrameMask
from endofm.video.frames import Float64Array, UInt8Array

if TYPE_CHECKING:
    from endofm.tasks.segmentation.stream import MaskStream


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A :class:`FrameMask` in run lengths: of each class that occurs, its number and its runs."""

    index: int
    pts_seconds: float
    duration_seconds: float
    runs: dict[int, str]
    scores: tuple[float, ...]

    @classmethod
    def of(cls, mask: FrameMask) -> PackedMask:
        """Pack a mask."""
        present = [int(value) for value in np.unique(mask.labels) if value]
        runs = {value: run_lengths.encode(mask.labels == value) for value in present}
        return cls(mask.index, mask.pts_seconds, mask.duration_seconds, runs, mask.scores)

    def unpack(self, height: int, width: int) -> FrameMask:
        """Return the mask again."""
        labels = np.zeros((height, width), np.uint8)
        for value, text in self.runs.items():
            labels[run_lengths.decode(text, height, width)] = value
        return FrameMask(self.index, self.pts_seconds, self.duration_seconds, labels, self.scores)


@dataclass(frozen=True, eq=False)
class VideoMasks:
    """Masks of all frames of a video (or of every n-th), at the size of the frames.

    Behaves as a sequence of :class:`~endofm.tasks.segmentation.frame_mask.FrameMask`, unpacked when asked for.

    Attributes:
        labels: Names of the classes, background first.
        height: Rows of the frames.
        width: Columns of the frames.
        packed: One run-length coded mask per frame.
        provenance: How the masks came about, as plain JSON values.
    """

    labels: tuple[str, ...]
    height: int
    width: int
    packed: tuple[PackedMask, ...]
    provenance: dict[str, Any]

    @classmethod
    def collect(
        cls, stream: MaskStream, *, progress: bool = True, weights: Mapping[str, Any] | None = None
    ) -> VideoMasks:
        """Run a stream to its end.

        Args:
            stream: A pass over a video.
            progress: Show a progress bar on a terminal.
            weights: Where the weights came from.
        """
        metadata = stream.source.metadata
        packed = []
        name = Path(metadata.name).name
        with progress_bar(total=len(stream), description=name, unit="frame", disable=not progress) as bar:
            for mask in stream:
                packed.append(PackedMask.of(mask))
                bar.update(1)
        provenance = {"weights": dict(weights or {}), **stream.describe()}
        return cls(stream.labels, metadata.height, metadata.width, tuple(packed), provenance)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> FrameMask:
        return self.packed[index].unpack(self.height, self.width)

    def __iter__(self) -> Iterator[FrameMask]:
        return (packed.unpack(self.height, self.width) for packed in self.packed)

    def __repr__(self) -> str:
        return f"VideoMasks({len(self)} frames of {self.width} x {self.height}, classes {', '.join(self.labels)})"

    @property
    def pts_seconds(self) -> Float64Array:
        """Times at which the frames appear, float64 ``(frames,)``, seconds after the first frame."""
        return np.array([packed.pts_seconds for packed in self.packed], np.float64)

    def to_array(self) -> UInt8Array:
        """Return all masks at once, uint8 ``(frames, height, width)``; large for long videos."""
        return np.stack([mask.labels for mask in self])

    def areas(self) -> Float64Array:
        """Return which share of the frame each class takes, float64 ``(frames, classes)``."""
        counts = [np.bincount(mask.labels.ravel(), minlength=len(self.labels)) for mask in self]
        return np.stack(counts) / (self.height * self.width)

    def save(self, target: str | Path) -> None:
        """Write COCO run-length JSON (``.json``), or else a folder of indexed PNG files.

        Raises:
            InputError: If the target has another suffix, or is a folder with something in it.
        """
        from endofm.tasks.segmentation.files import write_masks

        write_masks(
            target, self, labels=self.labels, size=(self.height, self.width), provenance=lambda: self.provenance
        )

    @classmethod
    def load(cls, path: str | Path) -> VideoMasks:
        """Read what :meth:`save` wrote as ``.json``.

        Raises:
            InputError: If the file is of another kind or damaged.
        """
        from endofm.tasks.segmentation.files import read_coco

        return read_coco(path)


def require_frames(masks: Iterable[FrameMask], size: tuple[int, int]) -> Iterator[FrameMask]:
    """Yield masks, making sure that all have one size."""
    for mask in masks:
        if mask.labels.shape != size:
            raise InputError(f"the mask at {mask.pts_seconds:.3f} s is {mask.labels.shape}, not {size} (height, width)")
        yield mask
