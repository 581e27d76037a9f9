"""Sources and encoders that the tests of this folder share: small, exact, and watched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from endofm.outputs import EncoderOutput
from endofm.video.frames import Float64Array, Frame, VideoMetadata


class ListSource:
    """Frames at given times; frame ``i`` is filled with ``i % 256``. Records what it is asked for.

    Args:
        times: Times of the frames, ascending, the first is 0.
        end: End of the last frame.
        readable: Number of frames that can really be decoded; the rest is announced only.
        fail_at: Frame whose decoding raises.
    """

    def __init__(
        self, times: Iterable[float], end: float, *, readable: int | None = None, fail_at: int | None = None
    ) -> None:
        self.times = np.array(list(times), np.float64)
        self.end = end
        self.readable = len(self.times) if readable is None else readable
        self.fail_at = fail_at
        self.asked: list[float] = []
        self.metadata = VideoMetadata("list", 32, 32, None, None, None, "raw")
        self.problems: tuple[str, ...] = ()

    def frame_times(self) -> Float64Array:
        return self.times

    def end_seconds(self) -> float:
        return self.end

    def frame(self, index: int) -> Frame:
        if index == self.fail_at:
            raise OSError("the disk is gone")
        edges = np.append(self.times, self.end)
        data = np.full((32, 32, 3), index % 256, np.uint8)
        return Frame(data, float(self.times[index]), float(edges[index + 1] - edges[index]))

    def shown_at(self, time: float) -> int:
        return int(np.searchsorted(self.times, time + 1e-6, side="right")) - 1

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        edges = np.append(self.times, self.end)
        for time in seconds:
            self.asked.append(time)
            if time >= edges[self.readable]:
                return
            yield self.frame(self.shown_at(time))

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(i) for i in range(self.readable))

    def close(self) -> None:
        pass

    def __enter__(self) -> ListSource:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def regular(count: int, fps: float = 10.0, **more: int) -> ListSource:
    return ListSource(np.arange(count) / fps, count / fps, **more)


WEIGHTS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def encode(clips: Tensor, *, level: str) -> EncoderOutput:
    """Embed by sums that do not depend on how clips are batched."""
    means = clips.double().mean((3, 4)).movedim(1, 2)  # B T C
    frames = means @ WEIGHTS.T
    tokens = (frames[:, :, None, None] * torch.arange(1, 5).reshape(2, 2, 1)).float()
    order = torch.arange(1, clips.shape[2] + 1, dtype=torch.float64)[:, None]
    cls_token = torch.stack([(clip * order).sum(0) for clip in frames]).float()
    return EncoderOutput(cls_token, tokens)
