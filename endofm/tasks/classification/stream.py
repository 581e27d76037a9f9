"""Classification stream: from an open video to class probabilities, clip by clip."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from endofm.errors import VideoError
from endofm.progress import Progress, progress_bar
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.results import ClipClassification, VideoClassification
from endofm.tasks.features.stream import FeatureStream
from endofm.video.frames import VideoSource


class ClassificationStream:
    """One pass over one video that yields class probabilities while the video is being read.

    Args:
        logits: Stream whose "embeddings" are the logits of the clips.
        source: Its video.
        head: Labels, thresholds, and whether the head is multi-label.
        probabilities: Maps logits ``(clips, num_classes)`` to probabilities.
        weights: Provenance of the weights, as plain JSON values.

    Attributes:
        source: The video.
    """

    def __init__(
        self,
        logits: FeatureStream,
        source: VideoSource,
        head: ClassificationHeadConfig,
        probabilities: Callable[[Tensor], Tensor],
        *,
        weights: Mapping[str, Any],
    ) -> None:
        self.source = source
        self._logits, self._head, self._probabilities, self._weights = logits, head, probabilities, weights

    def __iter__(self) -> Generator[ClipClassification, None, None]:
        """Yield the clips in order.

        Raises:
            VideoError: If no frame of the video can be decoded.
            EncoderOutputError: If the model returns values that are not finite.
        """
        decoded = False
        with closing(iter(self._logits)) as batches:
            for batch in batches:
                decoded = True
                # In double precision, so that the probabilities of a clip sum to 1 within rounding of the output.
                rows = self._probabilities(torch.from_numpy(np.array(batch.embeddings)).double()).numpy()
                times = (batch.start_seconds.tolist(), batch.end_seconds.tolist())
                yield from map(ClipClassification, *times, rows)
        if not decoded:
            raise VideoError(f"{self.source.metadata.name}: no frame of this video could be decoded")

    def collect(self, *, progress: Progress = True) -> VideoClassification:
        """Run the stream to its end and return the classification of the whole video.

        Args:
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).
        """
        name = Path(self.source.metadata.name).name
        clips = []
        with (
            progress_bar(total=len(self._logits.plan), description=name, unit="clip", progress=progress) as bar,
            closing(iter(self)) as stream,
        ):
            for clip in stream:
                clips.append(clip)
                bar.update(1)
        return VideoClassification(
            np.stack([clip.probabilities for clip in clips]),
            np.array([clip.start_seconds for clip in clips]),
            np.array([clip.end_seconds for clip in clips]),
            self._head,
            self.provenance(),
        )

    def provenance(self) -> dict[str, Any]:
        """Return how the probabilities were computed, with the problems met so far, as plain JSON values."""
        return self._logits.provenance(self._weights)
