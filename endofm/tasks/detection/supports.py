"""Which frames of a video support which, and a window over a stream that has them at hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from endofm.errors import InputError

T = TypeVar("T")

SupportPattern = Literal["spread", "all", "random"]


@dataclass(frozen=True, kw_only=True)
class SupportPlan:
    """Which neighbours of a frame support it.

    Half of the supports lie before the frame and half behind it; online all of them lie before it, so that no frame
    waits for a later one. Places before the first frame of a video are taken by its first frame, places behind the
    last by the last, as the original does it.

    Attributes:
        pattern: ``"spread"`` takes the same places for every frame, evenly spread from the nearest to the farthest;
            ``"all"`` takes every place; ``"random"`` draws places anew for every frame (as the original does).
        count: Supports of a frame, for ``"spread"`` and ``"random"``; 0 for none.
        reach: Distance of the farthest place, in frames.
        online: Use no later frame.
        seed: Start of the draws of ``"random"``, the same for every video.

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
            raise InputError(f"pattern must be one of {', '.join(get_args(SupportPattern))}, got {self.pattern!r}")
        for name, least in (("count", 0), ("reach", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"{name} of the supports must be a whole number >= {least}, got {value!r}")

    @property
    def ahead(self) -> int:
        """Later frames that a frame waits for."""
        return 0 if self.online or (self.count == 0 and self.pattern != "all") else self.reach

    def draws(self) -> np.random.RandomState:
        """Return the generator of a new video, which only ``"random"`` uses."""
        return np.random.RandomState(self.seed)

    def offsets(self, draws: np.random.RandomState) -> list[int]:
        """Return the places of the supports of the next frame, earlier ones first, in frames from it."""
        if self.online:
            return [-1 - i for i in reversed(self._places(self.count, draws, backwards=True))]
        earlier, later = self.count // 2, self.count - self.count // 2
        before = self._places(earlier, draws, backwards=True)
        return [*(-1 - i for i in reversed(before)), *(1 + i for i in self._places(later, draws))]

    def _places(self, count: int, draws: np.random.RandomState, *, backwards: bool = False) -> list[int]:
        """Return places on one side of a frame, counted from 0 at the nearest."""
        if self.pattern == "all" or count >= self.reach:
            return list(range(self.reach))
        if self.pattern == "random":
            # The original numbers places in order of time.
            drawn = [int(i) for i in draws.choice(self.reach, count, replace=False)]
            return [self.reach - 1 - i for i in reversed(drawn)] if backwards else drawn
        return sorted({round(float(i)) for i in np.linspace(0, self.reach - 1, count)}) if count > 1 else [0] * count


class Supported(NamedTuple, Generic[T]):
    """A frame with its supports.

    Attributes:
        target: What is known of the frame.
        supports: What is known of its supports, in the order of :meth:`SupportPlan.offsets`.
    """

    target: T
    supports: list[T]


def with_supports(frames: Iterable[T], plan: SupportPlan) -> Iterator[Supported[T]]:
    """Go through the frames of one video and give each with its supports.

    Each frame is taken from the iterator once, and held as long as it can still be a support: at most
    ``2 * reach + 1`` at a time.

    Args:
        frames: The frames of one video in order, in whatever form.
        plan: Which of them support which.
    """
    draws = plan.draws()
    window: deque[T] = deque()
    place = -1  # of the target in the window
    source = iter(frames)
    ended = False
    while True:
        while not ended and len(window) - 1 - (place + 1) < plan.ahead:
            try:
                window.append(next(source))
            except StopIteration:
                ended = True
        place += 1
        if place >= len(window):
            return
        last = len(window) - 1
        chosen = [window[min(max(place + offset, 0), last)] for offset in plan.offsets(draws)]
        yield Supported(window[place], chosen)
        if place >= plan.reach:
            window.popleft()
            place -= 1
