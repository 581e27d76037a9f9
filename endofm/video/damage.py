"""What could not be decoded, put into sentences."""

from __future__ import annotations

from collections.abc import Callable

_JOIN_SECONDS = 1.0
_MAX_SENTENCES = 20

# A hole between frames is told of if it is this long, in a video whose frames otherwise come evenly.
_MIN_HOLE_SECONDS = 0.25
_MIN_HOLE_STEPS = 3.0
_EVEN_SHARE = 0.9


class DamageLog:
    """Collects damage met while decoding; meeting the same damage twice counts once.

    Times are kept in ticks of the stream's clock, since the time of the first frame is not known from the start.
    """

    def __init__(self) -> None:
        self._lost: set[int] = set()
        self._spoiled: set[int] = set()
        self._holes: dict[int, tuple[int, int]] = {}
        self._steps = self._even_steps = 0
        self._notes: dict[str, str] = {}

    def lost(self, tick: int) -> None:
        """Record that the frame at ``tick`` was not decoded."""
        self._lost.add(tick)

    def spoiled(self, tick: int) -> None:
        """Record that the frame at ``tick`` was decoded with errors that the decoder covered up."""
        self._spoiled.add(tick)

    def step(self, start: int, end: int, usual: int) -> None:
        """Record that frames follow each other at ``start`` and ``end``, ``usual`` ticks apart at the nominal rate."""
        self._steps += 1
        self._even_steps += 0.5 * usual <= end - start <= 1.5 * usual
        if end - start > _MIN_HOLE_STEPS * usual:
            self._holes[start] = end, usual

    def note(self, topic: str, sentence: str) -> None:
        """Record anything else; a later sentence on the same topic replaces the earlier one."""
        self._notes[topic] = sentence

    @property
    def has_lost_frames(self) -> bool:
        """Whether there are packets that gave no frame."""
        return bool(self._lost)

    def sentences(self, seconds: Callable[[int], float]) -> tuple[str, ...]:
        """Return one sentence per stretch of damage.

        Args:
            seconds: Converts ticks to seconds after the first frame.
        """
        lost = sorted(seconds(tick) for tick in self._lost)
        spoiled = sorted(seconds(tick) for tick in self._spoiled - self._lost)
        early = sum(time < 0 for time in lost)
        found = [f"{_frames(early)} before the first one that could be decoded could not"] if early else []
        found += [f"{_where(stretch)} could not be decoded" for stretch in _stretches(lost[early:])]
        found += [f"{_where(stretch)} may look damaged, decoded with errors" for stretch in _stretches(spoiled)]
        found += self._missing(seconds)
        if len(found) > _MAX_SENTENCES:
            rest = len(found) - _MAX_SENTENCES
            found = [*found[:_MAX_SENTENCES], f"and {rest} more stretches like these"]
        return (*self._notes.values(), *found)

    def _missing(self, seconds: Callable[[int], float]) -> list[str]:
        if self._even_steps < _EVEN_SHARE * self._steps:
            return []
        found = []
        for start, (end, usual) in sorted(self._holes.items()):
            explained = any(start < tick < end for tick in self._lost)
            if not explained and seconds(end) - seconds(start) > _MIN_HOLE_SECONDS:
                missing = round((end - start) / usual) - 1
                found.append(
                    f"about {_frames(missing)} between {seconds(start):.3f} s and {seconds(end):.3f} s are missing "
                    f"from the file"
                )
        return found


def _stretches(times: list[float]) -> list[list[float]]:
    stretches: list[list[float]] = []
    for time in times:
        if stretches and time - stretches[-1][-1] <= _JOIN_SECONDS:
            stretches[-1].append(time)
        else:
            stretches.append([time])
    return stretches


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _where(times: list[float]) -> str:
    when = f"at {times[0]:.3f} s" if len(times) == 1 else f"from {times[0]:.3f} s to {times[-1]:.3f} s"
    return f"{_frames(len(times))} {when}"
