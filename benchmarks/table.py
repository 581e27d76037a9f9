"""Rows of the table of claims, each with its measured value, floor and goal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.timing import Ratio

Verdict = Literal["goal met", "floor met", "not met", "not comparable", "not measured"]
_SHOWN = {"x": "{:.2f}x", "%": "{:.1f} %", "s": "{:.2f} s", "MB": "{:.0f} MB"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim, measured on this machine.

    Attributes:
        name: What is measured.
        unit: ``"x"`` (times faster), ``"%"``, ``"s"`` or ``"MB"``.
        floor: Value that must be reached.
        goal: Value that is aimed at.
        value: Median; None if it could not be measured here.
        low: Lower quartile, where there were several rounds.
        high: Upper quartile, where there were several rounds.
        sound: False if the result was not near enough to the exact one; then no speed counts.
        comparable: False if the work was smaller than floor and goal are meant for, which lowers the value: reaching
            them counts, missing them does not.
        note: Accuracy, or why there is no value.
    """

    name: str
    unit: Literal["x", "%", "s", "MB"]
    floor: float
    goal: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    sound: bool = True
    comparable: bool = True
    note: str = ""

    @classmethod
    def of_ratio(
        cls,
        name: str,
        ratio: Ratio,
        floor: float,
        goal: float,
        *,
        sound: bool = True,
        comparable: bool = True,
        note: str = "",
    ) -> Row:
        """Return the row of a measured speed."""
        return cls(
            name=name, unit="x", floor=floor, goal=goal, value=ratio.median, low=ratio.low, high=ratio.high,
            sound=sound, comparable=comparable, note=note,
        )  # fmt: skip

    @property
    def verdict(self) -> Verdict:
        """Whether the goal or the floor is reached; whether more is better follows from the order of the two."""
        if self.value is None:
            return "not measured"
        more = self.goal > self.floor
        for bound, words in ((self.goal, "goal met"), (self.floor, "floor met")):
            if self.sound and (self.value >= bound if more else self.value <= bound):
                return words  # type: ignore[return-value]
        return "not met" if self.comparable or not self.sound else "not comparable"

    def cells(self) -> list[str]:
        """Return the cells of the row as strings."""
        shown = _SHOWN[self.unit].format
        several = self.low is not None and self.high is not None
        return [
            self.name,
            "" if self.value is None else shown(self.value),
            f"{shown(self.low)} - {shown(self.high)}" if several else "",
            shown(self.floor),
            shown(self.goal),
            self.verdict,
            self.note,
        ]


HEADS = ["", "measured", "quartiles", "floor", "goal", "", "remarks"]


def as_markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a table."""
    lines = [HEADS, ["---", "---:", "---:", "---:", "---:", "---", "---"], *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def as_json(rows: Iterable[Row], details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows and further details as plain JSON values."""
    return {"rows": [{**asdict(row), "verdict": row.verdict} for row in rows], "details": dict(details)}
