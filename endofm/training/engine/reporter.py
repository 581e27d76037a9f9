"""Progress display of a run: a live bar on a terminal, occasional lines in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from endofm.progress import progress_bar

_LINE_SECONDS = 10.0
"""Shortest time between two lines, in seconds."""


class Reporter:
    """Progress and messages of the first process; the others are silent.

    Args:
        total: Steps of the run.
        done: Steps done before.
        clips_per_step: Clips per step.
        first: Whether this is the first process.
        progress: Show progress; messages are shown in any case.
    """

    def __init__(self, *, total: int, done: int, clips_per_step: int, first: bool, progress: bool) -> None:
        self.total, self.clips_per_step = total, clips_per_step
        self._is_first = first
        shown = first and progress
        self._bar: Any = progress_bar(total=total, description="Training", unit="step", progress=shown)
        self._bar.initial = self._bar.n = done  # steps done before do not count towards the rate
        self._lines = shown and self._bar.disable
        self._begin, self._done = time.monotonic(), done
        self._interval, self._interval_steps = self._begin, 0
        self._last_line = float("-inf")

    def advance(self, step: int, loss: float) -> None:
        """Advance the bar by a step."""
        self._interval_steps += 1
        if not self._bar.disable:
            rate = self._rate()
            self._bar.set_postfix_str(f"loss {loss:.4g}, {rate:.3g} clips/s", refresh=False)
        self._bar.update(1)

    def row(self, step: int, epoch: int, loss: float) -> float:
        """Return the clips per second since the last row; where there is no terminal, print a line now and then."""
        rate = self._rate()
        now = time.monotonic()
        if self._lines and (now - self._last_line >= _LINE_SECONDS or step == self.total):
            self._last_line = now
            elapsed = now - self._begin
            left = elapsed / max(step - self._done, 1) * (self.total - step)
            print(
                f"step {step}/{self.total}  epoch {epoch}  loss {loss:.4g}  {rate:.3g} clips/s  {_duration(left)} left",
                file=sys.stderr,
                flush=True,
            )
        self._interval, self._interval_steps = time.monotonic(), 0
        return rate

    def show(self, message: str) -> None:
        """Print a message above the bar."""
        if self._is_first:
            self._bar.clear()
            print(message, file=sys.stderr, flush=True)
            self._bar.refresh()

    def seconds(self) -> float:
        """Return the seconds since this process started."""
        return time.monotonic() - self._begin

    def close(self) -> None:
        """Close the bar, which stays visible."""
        self._bar.close()

    def _rate(self) -> float:
        elapsed = time.monotonic() - self._interval
        return self._interval_steps * self.clips_per_step / elapsed if elapsed > 0 else 0.0


def _duration(seconds: float) -> str:
    minutes, _ = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02} h" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
