"""Which part of a video the views are taken from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endofm.video.frames import Float64Array


@dataclass(frozen=True)
class RandomSpan:
    """All frames of a span at a random place; of a shorter video, all its frames.

    The original's rule for training: a start anywhere that leaves room, the frames from there to the frame before the
    end of the span, and one more.

    Attributes:
        seconds: Length of the span.
    """

    seconds: float

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`endofm.data.frame_samplers.FrameSampler`."""
        begin = float(times[0])
        frame = (end - begin) / len(times)
        start = begin + float(generator.uniform(0, max(end - begin - self.seconds, 0.0)))
        first = int(np.searchsorted(times, start, side="left"))
        stop = int(np.searchsorted(times, start + self.seconds - frame, side="right")) + 1
        return times[min(first, len(times) - 1) : stop]
