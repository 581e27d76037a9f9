"""``VideoMasks``: the masks of a video, held in run lengths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from endofm.errors import require_extra
from endofm.tasks.result_rows import Selection, TimedRows, origin_facts, select_rows
from endofm.tasks.segmentation.files import read_coco, write_masks
from endofm.tasks.segmentation.frame_mask import FrameMask, PackedMask
from endofm.video.frames import Float64Array, UInt8Array

if TYPE_CHECKING:
    import pandas

    from endofm.progress import Progress
    from endofm.video.open import VideoInput
    from endofm.video.overlay import OverlayReport


@dataclass(frozen=True, eq=False, repr=False)
class VideoMasks(TimedRows[FrameMask]):
    """Masks of all frames of a video (or of every n-th), at the size of the frames.

    A sequence of :class:`~endofm.tasks.segmentation.frame_mask.FrameMask`, unpacked on access.

    Attributes:
        labels: Names of the classes, background first.
        height: Rows of the frames.
        width: Columns of the frames.
        packed: One run-length coded mask per frame.
        provenance: How the masks were computed, as plain JSON values.
    """

    labels: tuple[str, ...]
    height: int
    width: int
    packed: tuple[PackedMask, ...]
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, index: int) -> FrameMask: ...

    @overload
    def __getitem__(self, index: Selection) -> VideoMasks: ...

    def __getitem__(self, index: int | Selection) -> FrameMask | VideoMasks:
        if isinstance(index, (int, np.integer)):
            return self.packed[index].unpack(self.height, self.width)
        rows = np.arange(len(self))[select_rows(index, len(self))]
        return replace(self, packed=tuple(self.packed[row] for row in rows))

    def __iter__(self) -> Iterator[FrameMask]:
        return (packed.unpack(self.height, self.width) for packed in self.packed)

    def __repr__(self) -> str:
        return f"VideoMasks({len(self)} frames of {self.width} x {self.height}, classes {', '.join(self.labels)})"

    @property
    def pts_seconds(self) -> Float64Array:
        """Times at which the frames appear, float64 ``(frames,)``, seconds after the first frame."""
        return np.array([packed.pts_seconds for packed in self.packed], np.float64)

    @property
    def problems(self) -> tuple[str, ...]:
        """Parts of the video that could not be decoded, one sentence each; empty for an intact video."""
        return tuple(self.provenance.get("problems", ()))

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("frames", f"{len(self)} of {self.width} x {self.height}")]
        for index, label in enumerate(self.labels[1:], start=1):
            facts.append((f"frames with {label}", str(sum(index in packed.runs for packed in self.packed))))
        return facts + origin_facts(self.provenance)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.to_array(), dtype)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table: one row per frame, with its time and the fraction of the frame that each class covers.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        areas = self.areas() if self.packed else np.zeros((0, len(self.labels)))
        table: pandas.DataFrame = require_extra("pandas", "pandas", "A table of masks").DataFrame(
            areas, columns=[f"area({label})" for label in self.labels]
        )
        table.insert(0, "frame", [packed.index for packed in self.packed])
        table.insert(1, "seconds", self.pts_seconds)
        return table

    def _spans(self) -> tuple[Float64Array, Float64Array]:
        """Return when each frame appears and when the next one does."""
        starts = self.pts_seconds
        last = [packed.pts_seconds + packed.duration_seconds for packed in self.packed[-1:]]
        # A frame stays on screen until the next segmented one, also where frames in between were skipped.
        return starts, np.append(starts[1:], last)

    def to_array(self) -> UInt8Array:
        """Return all masks at once, uint8 ``(frames, height, width)``; large for long videos."""
        masks = [mask.labels for mask in self]
        return np.stack(masks) if masks else np.zeros((0, self.height, self.width), np.uint8)

    def areas(self) -> Float64Array:
        """Return the fraction of the frame that each class covers, float64 ``(frames, classes)``."""
        counts = [np.bincount(mask.labels.ravel(), minlength=len(self.labels)) for mask in self]
        return np.stack(counts) / (self.height * self.width)

    def save(self, path: str | Path) -> Path:
        """Write COCO run-length JSON (``.json``), or a folder of indexed PNG files (a name without a suffix).

        Returns:
            The path.

        Raises:
            InputError: If the path has another suffix, or is a folder that is not empty.
        """
        size = (self.height, self.width)
        write_masks(path, self, labels=self.labels, size=size, provenance=lambda: self.provenance)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> VideoMasks:
        """Read a ``.json`` file that :meth:`save` wrote.

        Raises:
            InputError: If the file cannot be read, has another format or is damaged.
        """
        return cls(*read_coco(path))

    def paint(
        self,
        video: VideoInput,
        path: str | Path,
        *,
        opacity: float = 0.4,
        fps: float | None = None,
        progress: Progress = True,
    ) -> OverlayReport:
        """Write the video with the masks painted over it, keeping times and sound.

        Args:
            video: The video that the masks belong to.
            path: File to create or replace, ``.mp4``; for a still also ``.png``.
            opacity: Fraction of the class colour inside a mask, in [0, 1]; outlines are always drawn.
            fps: Frame rate of sources that have none (folders, arrays, images).
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

        Returns:
            Number of frames and sound tracks, and the problems met.

        Raises:
            InputError: If the suffix is another one, the file is the video itself, or the opacity is not valid.
            VideoError: If the video cannot be read or the encoder fails.
        """
        from endofm.tasks.segmentation.mask_painting import mask_painter
        from endofm.video.open import open_video
        from endofm.video.overlay import paint_video

        painter = mask_painter(self.packed, (self.height, self.width), opacity=opacity)
        source = open_video(video, fps=fps)
        # A source that the caller opened is the caller's to close.
        with nullcontext(source) if source is video else source:
            return paint_video(source, path, painter, progress=progress)
