"""What could not be decoded, put into sentences."""

from __future__ import annotations

from collections.abc import Callable

_JOIN_SECONDS = 1.0
_MAX_SENTENCES = 20


class DamageLog:
    """Collects damage met while decoding; meeting the same damage twice counts once.

    Times are kept in ticks of the stream's clock, since the time of the first frame is not known from the start.
    """

    def __init__(self) -> None:
        self._lost: set[int] = set()
        self._spoiled: set[int] = set()
        self._notes: dict[str, None] = {}

    def lost(self, tick: int) -> None:
        """Record that the frame at ``tick`` was not decoded."""
        self._lost.add(tick)

    def spoiled(self, tick: int) -> None:
        """Record that the frame at ``tick`` was decoded with errors that the decoder covered up."""
        self._spoiled.add(tick)

    def note(self, sentence: str) -> None:
        """Record anything else."""
        self._notes[sentence] = None

    def sentences(self, seconds: Callable[[int], float]) -> tuple[str, ...]:
        """Return one sentence per stretch of damage.

        Args:
            seconds: Converts ticks to seconds after the first frame.
        """
        lost = sorted(seconds(tick) for tick in self._lost)
        spoiled = sorted(seconds(tick) for tick in self._spoiled - self._lost)
        found = [
            _sentence(len(stretch), stretch[0], stretch[-1], damaged)
            for times, damaged in ((lost, False), (spoiled, True))
            for stretch in _stretches(times)
        ]
        if len(found) > _MAX_SENTENCES:
            rest = len(found) - _MAX_SENTENCES
            found = [*found[:_MAX_SENTENCES], f"and {rest} more stretches like these"]
        return (*self._notes, *found)


def _stretches(times: list[float]) -> list[list[float]]:
    stretches: list[list[float]] = []
    for time in times:
        if stretches and time - stretches[-1][-1] <= _JOIN_SECONDS:
            stretches[-1].append(time)
        else:
            stretches.append([time])
    return stretches


def _sentence(count: int, start: float, end: float, damaged: bool) -> str:
    where = f"at {start:.3f} s" if count == 1 else f"from {start:.3f} s to {end:.3f} s"
    frames = "1 frame" if count == 1 else f"{count} frames"
    what = "may look damaged, decoded with errors" if damaged else "could not be decoded"
    return f"{frames} {where} {what}"
