"""From a video to masks: what a mask model does with anything that holds frames."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from endofm.kernels.precision import Precision
from endofm.models.pretrained import Pretrained
from endofm.tasks.segmentation.config import SegmentationHeadConfig

if TYPE_CHECKING:
    from endofm.tasks.segmentation.frame_mask import FrameMask
    from endofm.tasks.segmentation.results import VideoMasks
    from endofm.tasks.segmentation.stream import MaskStream
    from endofm.video.open import VideoInput
    from endofm.video.overlay import OverlayReport


class SegmentsVideos(Pretrained):
    """The methods of a mask model that take whole videos."""

    @property
    def head_config(self) -> SegmentationHeadConfig:
        """Labels and form of the head."""
        assert isinstance(self.config.head, SegmentationHeadConfig)
        return self.config.head

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits; the first is the background."""
        return self.head_config.labels

    def predict(
        self,
        video: VideoInput,
        *,
        num_frames: int | None = None,
        overlap: int | None = None,
        frame_stride: int = 1,
        batch_size: int = 1,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
        progress: bool = True,
    ) -> VideoMasks:
        """Segment a whole video.

        Masks are kept run-length coded, so an hour of video fits into memory. To keep none at all, use
        :meth:`stream`.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`.
            num_frames: Frames that are looked at together; as the weights' preprocessing says by default.
            overlap: Frames that neighbouring windows share; their probabilities are blended. A quarter of
                ``num_frames`` by default, 0 for none.
            frame_stride: Segment every n-th frame alone.
            batch_size: Windows per forward pass; for GPUs.
            device: Move the model there first; where it is by default.
            precision: Switch the model to it first, as in :meth:`from_pretrained`; what it has by default.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; outside of it
                everything is background. As the weights' preprocessing says by default.
            progress: Show a progress bar on a terminal.

        Returns:
            Masks at the size of the frames, with their times.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        from endofm.tasks.segmentation.results import VideoMasks

        with self.mask_stream(
            video,
            num_frames=num_frames,
            overlap=overlap,
            frame_stride=frame_stride,
            batch_size=batch_size,
            device=device,
            precision=precision,
            fps=fps,
            field_of_view=field_of_view,
        ) as stream:
            return VideoMasks.collect(stream, progress=progress, weights=self.weights_provenance())

    def stream(self, video: VideoInput, **options: Any) -> Generator[FrameMask, None, None]:
        """Yield the masks of a video frame by frame while it is being read, in memory that its length does not change.

        Arguments, apart from ``progress``, and errors are those of :meth:`predict`.
        """
        with self.mask_stream(video, **options) as stream:
            yield from stream

    def paint(
        self,
        video: VideoInput,
        target: str | Path,
        *,
        opacity: float = 0.4,
        progress: bool = True,
        **options: Any,
    ) -> OverlayReport:
        """Write a video (.mp4) with the masks painted over it; times and sound are those of the source.

        The video is decoded twice at once, for the masks and for the picture, and held in windows only.

        Args:
            video: As for :meth:`predict`.
            target: File to write.
            opacity: How much of the colour of a class covers what is below, in [0, 1]; its outline is always drawn.
            progress: Show a progress bar on a terminal.
            **options: Further arguments of :meth:`predict`.

        Returns:
            What was written and what was lost.

        Raises:
            VideoError: If the video cannot be read or written.
            InputError: If an argument is not valid.
        """
        from endofm.tasks.segmentation.painting import paint_masks

        with self.mask_stream(video, **options) as stream:
            return paint_masks(stream, stream.source, target, opacity=opacity, progress=progress)

    def write_masks(
        self,
        video: VideoInput,
        target: str | Path,
        *,
        progress: bool = True,
        **options: Any,
    ) -> int:
        """Write the masks of a video while it is being read: COCO run-length ``.json``, or a folder of PNG files.

        Args:
            video: As for :meth:`predict`.
            target: File ending in ``.json``, or a folder that is missing or empty.
            progress: Show a progress bar on a terminal.
            **options: Further arguments of :meth:`predict`.

        Returns:
            Number of masks.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        from endofm.progress import progress_bar
        from endofm.tasks.segmentation.files import write_masks

        with self.mask_stream(video, **options) as stream:
            source = stream.source
            name = Path(source.metadata.name).name
            with progress_bar(total=len(stream), description=name, unit="frame", disable=not progress) as bar:
                return write_masks(
                    target,
                    _counted(stream, bar),
                    labels=self.labels,
                    size=(source.metadata.height, source.metadata.width),
                    provenance=lambda: {"weights": self.weights_provenance(), **stream.describe()},
                )

    @contextmanager
    def mask_stream(
        self,
        video: VideoInput,
        *,
        num_frames: int | None = None,
        overlap: int | None = None,
        frame_stride: int = 1,
        batch_size: int = 1,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
    ) -> Iterator[MaskStream]:
        """Open a video for one pass; use it in a ``with`` statement. Arguments are those of :meth:`predict`."""
        from endofm.tasks.segmentation.stream import MaskStream

        session = self._session(video, device=device, precision=precision, fps=fps, field_of_view=field_of_view)
        with session as (source, processor):
            yield MaskStream(
                self,
                source,
                processor,
                labels=self.labels,
                device=self.device,
                precision=self.precision,
                num_frames=num_frames,
                overlap=overlap,
                frame_stride=frame_stride,
                batch_size=batch_size,
            )


def _counted(masks: Iterable[FrameMask], bar: Any) -> Iterator[FrameMask]:
    for mask in masks:
        yield mask
        bar.update(1)
