"""Table, figure and page of the study, from whatever cells are finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from endofm.errors import InputError
from endofm.evaluation.bootstrap import Interval
from endofm.files import atomic_path, write_text
from studies.real_study.comparison import paired_difference
from studies.real_study.kept_results import CellResult, KeptResults
from studies.real_study.plan import Cell, StudyPlan
from studies.real_study.tasks import TASKS
from studies.study_report import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEGIN, END = "<!-- study: begin (python -m studies real report) -->", "<!-- study: end -->"
"""Marks of the part of the page that is filled."""

FIGURE = Path("images") / "real-study.png"
"""The figure, next to the page."""


@dataclass(frozen=True)
class Difference:
    """One arm compared with another on the primary endpoint.

    Attributes:
        arm: The arm.
        seeds: Seeds of which both arms are finished on all tasks.
        interval: Mean difference over seeds and tasks, with its interval over images.
        by_seed: The difference of each seed.
    """

    arm: str
    seeds: tuple[int, ...]
    interval: Interval
    by_seed: tuple[float, ...]


class StudyReport:
    """Tables and figure of finished cells.

    Args:
        plan: The study.
        results: Kept results; those of other settings are left out.
    """

    def __init__(self, plan: StudyPlan, results: KeptResults) -> None:
        self.plan, self.tasks = plan, results.tasks()
        self.cells = {result.cell: result for result in results.of_plan(plan)}

    def of(self, task: str, fraction: float, arm: str) -> list[CellResult]:
        """Return the finished cells of an arm by seed."""
        cells = (Cell(task, fraction, arm, seed) for seed in self.plan.seeds)
        return [self.cells[cell] for cell in cells if cell in self.cells]

    def difference(self, arm: str, control: str) -> Difference | None:
        """Return an arm minus its control on the primary endpoint; None if no seed is finished for both."""
        primary = self.plan.primary

        def values(name: str, seeds: Sequence[int]) -> dict[str, list[tuple[float, ...]]]:
            return {
                task: [self.cells[Cell(task, primary.fraction, name, seed)].values for seed in seeds]
                for task in primary.tasks
            }

        seeds = tuple(
            seed
            for seed in self.plan.seeds
            if all(Cell(t, primary.fraction, a, seed) in self.cells for t in primary.tasks for a in (arm, control))
        )
        if not seeds:
            return None
        single = [
            paired_difference(self.tasks, values(arm, [seed]), values(control, [seed]), 0).value for seed in seeds
        ]
        interval = paired_difference(self.tasks, values(arm, seeds), values(control, seeds), self.plan.resamples)
        return Difference(arm, seeds, interval, tuple(single))

    def status(self) -> str:
        """Return how much of the study is finished, as sentences."""
        planned, primary = self.plan.cells(), self.plan.primary
        first = [cell for cell in planned if cell.task in primary.tasks and cell.fraction == primary.fraction]
        parts = [f"{len(self.cells)} of {len(planned)} planned cells are finished"]
        parts.append(
            f"{sum(cell in self.cells for cell in first)} of the {len(first)} of the primary endpoint among them"
        )
        seeds = sorted({cell.seed for cell in self.cells})
        return f"**{', '.join(parts)}** (seeds {', '.join(map(str, seeds)) or 'none'})."

    def primary_table(self) -> str:
        """Return the primary endpoint: scores of all arms, and differences from the two controls."""
        primary = self.plan.primary
        heads = ["", *(f"`{task}` {TASKS[task].metric}" for task in primary.tasks), "mean"]
        heads += [f"minus {self.plan.arms[control].title}" for control in (primary.control, "scratch")] + ["seeds"]
        rows = []
        for name, arm in self.plan.arms.items():
            found = {task: self.of(task, primary.fraction, name) for task in primary.tasks}
            if not any(found.values()):
                continue
            means = [np.mean([cell.score for cell in cells]) if cells else None for cells in found.values()]
            complete = [mean for mean in means if mean is not None]
            row = [arm.title, *(over_seeds([cell.score for cell in cells]) for cells in found.values())]
            row.append(f"{100 * np.mean(complete):.1f}" if len(complete) == len(means) else "")
            for control in (primary.control, "scratch"):
                difference = None if name == control else self.difference(name, control)
                row.append("" if difference is None else difference_text(difference.interval))
            rows.append(
                [*row, ", ".join(str(seed) for seed in sorted({c.cell.seed for v in found.values() for c in v}))]
            )
        return markdown_table(heads, rows)

    def verdict(self) -> str:
        """Return what the primary endpoint says, by the rule that was fixed before."""
        primary = self.plan.primary
        titles = [self.plan.arms[name].title for name in (primary.arm, primary.control)]
        difference = self.difference(primary.arm, primary.control)
        if difference is None:
            return f"**Primary endpoint:** not reached yet: *{titles[0]}* and *{titles[1]}* have no seed in common."
        low, high = difference.interval.low, difference.interval.high
        rule = "it helps" if low > 0 else "it hurts" if high < 0 else "this study cannot tell"
        seeds = f"{len(difference.seeds)} of {len(self.plan.seeds)} seeds"
        single = ", ".join(f"{100 * value:+.1f}" for value in difference.by_seed)
        return (
            f"**Primary endpoint** ({seeds}): *{titles[0]}* minus *{titles[1]}*: "
            f"{difference_text(difference.interval)} points; by seed {single}. By the rule above: {rule}."
        )

    def task_tables(self) -> list[str]:
        """Return a table for every task that has finished cells, with a column for each fraction of the labels."""
        tables = []
        fractions = sorted(self.plan.fractions)
        for task in self.plan.tasks:
            rows = []
            for name, arm in self.plan.arms.items():
                found = [self.of(task, fraction, name) for fraction in fractions]
                if any(found):
                    seconds = np.mean([cell.seconds for cells in found for cell in cells])
                    rows.append([arm.title, *(_cell_text(cells) for cells in found), f"{seconds:.0f}"])
            if rows:
                heads = [f"`{task}`", *(f"{100 * fraction:g} % of the labels" for fraction in fractions), "CPU s"]
                about = TASKS[task]
                title = f"{about.title[0].upper()}{about.title[1:]}; {about.metric} in percent:"
                tables.append(f"{title}\n\n{markdown_table(heads, rows)}")
        return tables

    def draw(self, path: Path) -> None:
        """Draw the differences of the primary endpoint, and the scores of every task against the labels."""
        from matplotlib.figure import Figure

        tasks = [task for task in self.plan.tasks if any(cell.task == task for cell in self.cells)]
        columns = min(len(tasks) + 1, 4)
        lines = -(-(len(tasks) + 1) // columns)
        figure = Figure(figsize=(3.6 * columns, 3.4 * lines + 0.6), layout="constrained")
        axes = np.ravel(figure.subplots(lines, columns, squeeze=False))
        self._draw_differences(axes[0])
        for axis, task in zip(axes[1:], tasks, strict=False):
            self._draw_task(axis, task)
        for axis in axes[len(tasks) + 1 :]:
            axis.axis("off")
        legends = [axis.get_legend_handles_labels() for axis in axes[1:]]
        handles = {label: handle for own in legends for handle, label in zip(*own, strict=True)}
        if handles:
            figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4, fontsize=8)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png")

    def _draw_differences(self, axis: Axes) -> None:
        control = self.plan.primary.control
        found = [self.difference(name, control) for name in self.plan.arms if name != control]
        shown = [difference for difference in found if difference is not None]
        for row, difference in enumerate(shown):
            colour, interval = self._colour(difference.arm), difference.interval
            axis.plot([100 * interval.low, 100 * interval.high], [row, row], color=colour, lw=2)
            axis.plot(100 * interval.value, row, "o", color=colour)
            axis.plot([100 * value for value in difference.by_seed], [row] * len(difference.by_seed), "|", color=colour)
        axis.axvline(0, color="0.5", lw=1)
        axis.set_yticks(range(len(shown)), [self.plan.arms[difference.arm].title for difference in shown], fontsize=7)
        axis.set_title(f"primary endpoint, minus\n{self.plan.arms[control].title} (points)", fontsize=9)
        axis.invert_yaxis()

    def _draw_task(self, axis: Axes, task: str) -> None:
        fractions = sorted(self.plan.fractions)
        for number, (name, arm) in enumerate(self.plan.arms.items()):
            found = {fraction: self.of(task, fraction, name) for fraction in fractions}
            points = [(fraction, [100 * c.score for c in cells]) for fraction, cells in found.items() if cells]
            if not points:
                continue
            # Arms of one fraction stand side by side.
            places = [100 * fraction * 1.05 ** (number - 3) for fraction, _ in points]
            axis.plot(
                places, [np.mean(scores) for _, scores in points], "-o", ms=4, color=self._colour(name), label=arm.title
            )
            for place, (_, scores) in zip(places, points, strict=True):
                axis.plot([place] * len(scores), scores, "_", color=self._colour(name), alpha=0.6)
        axis.set_xscale("log")
        axis.set_xticks([100 * f for f in fractions], [f"{100 * f:g} %" for f in fractions])
        axis.minorticks_off()
        axis.set_title(f"{task}: {TASKS[task].metric} (%)", fontsize=9)
        axis.grid(alpha=0.3)

    def _colour(self, arm: str) -> str:
        return f"C{list(self.plan.arms).index(arm)}"


def over_seeds(scores: Sequence[float]) -> str:
    """Return ``mean (lowest to highest)`` of scores in percent; the mean alone of a single one, empty for none."""
    if not scores:
        return ""
    mean = f"{100 * np.mean(scores):.1f}"
    return mean if len(scores) == 1 else f"{mean} ({100 * min(scores):.1f} to {100 * max(scores):.1f})"


def difference_text(interval: Interval) -> str:
    """Return ``+1.2 [-0.3, 2.7]`` in points."""
    return f"{100 * interval.value:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _cell_text(cells: Sequence[CellResult]) -> str:
    text = over_seeds([cell.score for cell in cells])
    if len(cells) == 1 and cells[0].low is not None and cells[0].high is not None:
        # A single seed has the interval over items instead of a range over seeds.
        text += f" [{100 * cells[0].low:.1f}, {100 * cells[0].high:.1f}]"
    return text


def fill_page(page: Path, plan: StudyPlan, results: KeptResults) -> list[Path]:
    """Put status, tables and figure between the marks of a page; return the files that were written.

    Raises:
        InputError: If the page has no marks.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    start, stop = text.find(BEGIN), text.find(END)
    if start < 0 or stop < start:
        raise InputError(f"{page}: there is no part between '{BEGIN}' and '{END}' to fill")
    report = StudyReport(plan, results)
    parts, written = [report.status(), report.verdict()], [page]
    if report.cells:
        report.draw(page.parent / FIGURE)
        parts += [report.primary_table(), f"![Differences and scores]({FIGURE.as_posix()})", *report.task_tables()]
        written.append(page.parent / FIGURE)
    middle = "\n\n".join(part.strip() for part in parts)
    write_text(page, f"{text[:start]}{BEGIN}\n{middle}\n{text[stop:]}")
    return written
