"""What a person sees of a run: a live bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from endofm.progress import progress_bar

_LINE_SECONDS = 10.0
"""Least time between two lines."""


class Reporter:
    """Progress and messages of the first process; the others are silent.

    Args:
        total: Steps of the run.
        done: Steps done before.
        clips_per_step: Clips of a step.
        first: Whether this is the first process.
        progress: Show progress at all; messages are shown in any case.
    """

    def __init__(self, *, total: int, done: int, clips_per_step: int, first: bool, progress: bool) -> None:
        self.total, self.clips_per_step = total, clips_per_step
        self._say = first
        shown = first and progress
        self._bar: Any = progress_bar(total=total, description="Training", unit="step", disable=not shown)
        self._bar.initial = self._bar.n = done  # Steps done before do not count for the rate.
        self._lines = shown and self._bar.disable
        self._begin, self._done = time.monotonic(), done
        self._interval, self._interval_steps = self._begin, 0
        self._last_line = float("-inf")

    def advance(self, step: int, loss: float) -> None:
        """Show that a step is done."""
        self._interval_steps += 1
        if not self._bar.disable:
            rate = self._rate()
            self._bar.set_postfix_str(f"loss {loss:.4g}, {rate:.3g} clips/s", refresh=False)
        self._bar.update(1)

    def row(self, step: int, epoch: int, loss: float) -> float:
        """Show a line now and then where there is no terminal; return the clips per second since the last row."""
        rate = self._rate()
        now = time.monotonic()
        if self._lines and (now - self._last_line >= _LINE_SECONDS or step == self.total):
            self._last_line = now
            elapsed = now - self._begin
            left = elapsed / max(step - self._done, 1) * (self.total - step)
            print(
                f"step {step}/{self.total}  epoch {epoch}  loss {loss:.4g}  {rate:.3g} clips/s  {_span(left)} left",
                file=sys.stderr,
                flush=True,
            )
        self._interval, self._interval_steps = time.monotonic(), 0
        return rate

    def say(self, text: str) -> None:
        """Show a message without breaking the bar."""
        if self._say:
            self._bar.clear()
            print(text, file=sys.stderr, flush=True)
            self._bar.refresh()

    def seconds(self) -> float:
        """Return the seconds since this process began."""
        return time.monotonic() - self._begin

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def _rate(self) -> float:
        elapsed = time.monotonic() - self._interval
        return self._interval_steps * self.clips_per_step / elapsed if elapsed > 0 else 0.0


def _span(seconds: float) -> str:
    minutes, _ = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02} h" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
