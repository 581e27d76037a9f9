"""Rules about times that every source of frames shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from endofm.errors import InputError

TIME_TOLERANCE = 1e-6
"""Seconds by which a frame may begin after an asked time and still be the frame on screen.

Times such as ``i / fps`` and time stamps in ticks of a container's clock differ in the last bits of a float; without
this, asking for the time of a frame would now and then give the frame before. No container ticks this fast.
"""


def ascending(seconds: Iterable[float]) -> Iterator[float]:
    """Yield the times one by one as floats.

    Raises:
        InputError: If a time is negative, is not a finite number, or is smaller than the one before.
    """
    last = 0.0
    for position, value in enumerate(seconds):
        time = float(value)
        if not math.isfinite(time) or time < 0:
            raise InputError(f"times are seconds after the first frame, finite and >= 0; time {position} is {value!r}")
        if time < last:
            raise InputError(f"times must be ascending; time {position} is {time} s after one of {last} s")
        last = time
        yield time
