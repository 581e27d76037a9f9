"""Support frames: which frames of a video refine which, and a window over a stream that holds them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from endofm.arguments import integer_argument
from endofm.errors import InputError, quoted

T = TypeVar("T")

SupportPattern = Literal["spread", "all", "random"]


@dataclass(frozen=True, kw_only=True)
class SupportPlan:
    """Selection of the neighbours that support a frame.

    Half of the supports precede the frame and half follow it; online all of them precede it, so that no frame waits for
    a later one. Supports before the first frame of a video are replaced by its first frame, those after the last by the
    last, as in the published code.

    Attributes:
        pattern: ``"spread"`` selects the same offsets for every frame, evenly spread from the nearest to the farthest;
            ``"all"`` selects every offset; ``"random"`` draws offsets for every frame (as the published code does).
        count: Supports of a frame, for ``"spread"`` and ``"random"``; 0 for none.
        reach: Largest offset, in frames.
        online: Use no later frame.
        seed: Seed of the draws of ``"random"``, the same for every video.

    Raises:
        InputError: If a value is not valid.
    """

    pattern: SupportPattern = "spread"
    count: int = 10
    reach: int = 9
    online: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pattern not in get_args(SupportPattern):
            raise InputError(
                f"pattern must be one of {', '.join(get_args(SupportPattern))}, got {quoted(self.pattern)}"
            )
        for name, least in (("count", 0), ("reach", 1)):
            value = integer_argument(getattr(self, name), f"{name} of the supports", low=least)
            object.__setattr__(self, name, value)  # The dataclass is frozen.

    @property
    def ahead(self) -> int:
        """Number of later frames that a frame waits for."""
        return 0 if self.online or (self.count == 0 and self.pattern != "all") else self.reach

    def draws(self) -> np.random.RandomState:
        """Return the random generator of a new video, which only ``"random"`` uses."""
        # Legacy generator: it repeats the published code's draws.
        return np.random.RandomState(self.seed)

    def offsets(self, draws: np.random.RandomState) -> list[int]:
        """Return the offsets of the next frame's supports, in frames, in order of time."""
        if self.online:
            return [-1 - i for i in reversed(self._side(self.count, draws, backwards=True))]
        earlier, later = self.count // 2, self.count - self.count // 2
        before = self._side(earlier, draws, backwards=True)
        return [*(-1 - i for i in reversed(before)), *(1 + i for i in self._side(later, draws))]

    def _side(self, count: int, draws: np.random.RandomState, *, backwards: bool = False) -> list[int]:
        """Return the distances on one side of a frame, counted from 0 at its neighbour."""
        if self.pattern == "all" or count >= self.reach:
            return list(range(self.reach))
        if self.pattern == "random":
            # The published code numbers both sides in order of time, so that before the frame, 0 is the farthest;
            # mirrored here, the same draws select the same frames.
            drawn = [int(i) for i in draws.choice(self.reach, count, replace=False)]
            return [self.reach - 1 - i for i in reversed(drawn)] if backwards else drawn
        return sorted({round(float(i)) for i in np.linspace(0, self.reach - 1, count)}) if count > 1 else [0] * count


class Supported(NamedTuple, Generic[T]):
    """A frame with its supports.

    Attributes:
        target: The frame, or any value that stands for it.
        supports: Its supports, in the order of :meth:`SupportPlan.offsets`.
    """

    target: T
    supports: list[T]


def with_supports(frames: Iterable[T], plan: SupportPlan) -> Iterator[Supported[T]]:
    """Iterate over the frames of one video together with their supports.

    Each frame is taken from the iterator once, and held as long as it can still be a support: at most
    ``2 * reach + 1`` frames at a time.

    Args:
        frames: The frames of one video in order, or any values that stand for them.
        plan: Selection of the supports.
    """
    draws = plan.draws()
    # A window over the video; `position` is the target's index in it. With reach 2, once the video has begun:
    #
    #     window:    t-2  t-1  [t]  t+1  t+2        position = 2
    #
    # Each step reads ahead until `plan.ahead` frames follow the target, yields it, and drops the frame that no later
    # target can reach. Near the start the window is shorter on the left, near the end on the right.
    window: deque[T] = deque()
    position = -1
    source = iter(frames)
    ended = False
    while True:
        # The next target will be at position + 1; len(window) - 1 - (position + 1) frames follow it.
        while not ended and len(window) - 1 - (position + 1) < plan.ahead:
            try:
                window.append(next(source))
            except StopIteration:
                ended = True
        position += 1
        if position >= len(window):
            return
        last = len(window) - 1
        # Clamping repeats the first and the last frame of the video at its ends: inside the video the window always
        # reaches far enough, so only there does an offset point outside of it.
        supports = [window[min(max(position + offset, 0), last)] for offset in plan.offsets(draws)]
        yield Supported(window[position], supports)
        if position >= plan.reach:
            # The next target is one frame later, so the leftmost frame is out of its reach.
            window.popleft()
            position -= 1
