"""One pass over an open video: what the streams of all tasks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from endofm._version import __version__
from endofm.progress import Progress, progress_bar
from endofm.transforms.processor import Processor
from endofm.video.frames import VideoSource, describe_video

Item = TypeVar("Item")
Result = TypeVar("Result")


class VideoStream(ABC, Generic[Item, Result]):
    """Results of one video, item by item while the video is being read, or collected.

    Iterate over a stream once, or call :meth:`collect`. A thread decodes and prepares ahead of the model; it ends with
    the iteration, even if that ends early (``close()`` of the iterator, an exception, Ctrl-C).

    Args:
        source: Open video.
        processor: Turns frames into the model's input.
        device: Device of the model.
        precision: Precision of the model, for the provenance; the model itself applies it.
        weights: Provenance of the weights, as plain JSON values.

    Attributes:
        source: The video.
        box: Field of view that frames are cropped to; None for whole frames.
    """

    unit = "frame"
    """Unit of the progress bar."""

    def __init__(
        self,
        source: VideoSource,
        processor: Processor,
        *,
        device: str | torch.device = "cpu",
        precision: str = "exact",
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        self.source, self._processor = source, processor
        self._device, self._precision = torch.device(device), precision
        self._weights = dict(weights or {})
        # One box for the whole video: a box per frame would make the picture jump between frames of a clip.
        self.box = processor.find_field_of_view_of(source)

    @abstractmethod
    def __iter__(self) -> Generator[Item, None, None]:
        """Yield the results in order of time."""

    @abstractmethod
    def expected(self) -> int | None:
        """Return the number of items to expect, None if unknown; damaged frames yield none."""

    @abstractmethod
    def _result(self, items: Iterator[Item]) -> Result:
        """Consume all items and return the result of the whole video."""

    def counted(self, *, progress: Progress = True) -> Generator[Item, None, None]:
        """Iterate with a progress bar.

        Args:
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).
        """
        name = Path(self.source.metadata.name).name
        with (
            progress_bar(total=self.expected(), description=name, unit=self.unit, progress=progress) as bar,
            closing(iter(self)) as items,
        ):
            for item in items:
                yield item
                bar.update(1)

    def collect(self, *, progress: Progress = True) -> Result:
        """Run the stream to its end and return the result of the whole video.

        Args:
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).
        """
        with closing(self.counted(progress=progress)) as items:
            return self._result(items)

    def provenance(self) -> dict[str, Any]:
        """Return how the results were computed, with the problems met so far, as plain JSON values."""
        return {
            "weights": self._weights,
            "preprocess": asdict(self._processor.config),
            "field_of_view": asdict(self.box) if self.box else None,
            "precision": self._precision,
            "device": self._device.type,
            "problems": list(self.source.problems),
            "library": {"endofm": __version__, "torch": torch.__version__},
            **self._details(),
        }

    def _details(self) -> dict[str, Any]:
        """Return the part of the provenance that only this task has."""
        return {"video": describe_video(self.source)}
