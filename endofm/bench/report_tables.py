"""Tables of a comparison: plain rows, from which Markdown, CSV, JSON and the page are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from endofm._version import __version__
from endofm.bench.comparison import BenchResult, ScoredSet
from endofm.disclaimer import DISCLAIMER
from endofm.evaluation.bootstrap import Interval, plain

# The columns are for scripts: one row per encoder, set and score.
COLUMNS = (
    *("encoder", "set", "score", "metric", "value", "low", "high", "overlap", "overlap_text"),
    *("seconds_per_clip", "gigabytes"),
)

HOW_TO_READ = (
    "Features are frozen. Settings of a probe are chosen on the part val, or inside the training part by group "
    "where there is none; nothing is chosen on what is scored.",
    "Intervals (95 %) resample groups. Differences are paired: the same resamples for both encoders; p is two-sided, "
    "and Holm's correction covers all comparisons with the first encoder.",
    "A number marked “seen”: the record of the weights lists pictures of this data set among its training data. “?”: "
    "what was seen in training is not known.",
    "k-NN is a vote of neighbours by cosine similarity; linear is ridge regression; attentive is a trained query over "
    "the tokens of 6 x 6 cells; few-shot is the nearest mean of a few groups per class, averaged over draws; nearest "
    "is how often the most similar item is of the same class.",
    "Seconds are those of the processor per clip on a CPU, of the clock on another device. Gigabytes are the largest "
    "memory of the process while embedding, PyTorch and pictures included; of tensors on a GPU.",
)


@dataclass(frozen=True)
class Table:
    """A table with a heading.

    Attributes:
        title: Heading.
        notes: Sentences below it.
        header: Names of the columns.
        rows: Cells as strings; the first column names the row.
    """

    title: str
    notes: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(result: BenchResult) -> Iterator[Table]:
    """Yield the summary, a table for every set, the paired tests, and the overlap with training data."""
    # Encoders are the columns: there are fewer of them than of scores.
    summary = [
        (f"{name} {score}", *(_value(scored, spec, score) for spec in result.specs))
        for name, scored in result.sets.items()
        for score in scored.score_names
    ]
    costs = zip(*(_costs(list(result.sets.values()), spec) for spec in result.specs), strict=True)
    summary += [(what, *values) for what, values in zip(("seconds per clip", "gigabytes"), costs, strict=True)]
    yield Table("All scores", (), ("score", *result.specs), tuple(summary))
    for name, scored in result.sets.items():
        yield _set_table(result, name, scored)
    yield _paired_table(result)
    rows = (
        (spec, name, scored.overlaps[spec].kind, scored.overlaps[spec].text)
        for spec in result.specs
        for name, scored in result.sets.items()
    )
    yield Table("Overlap with training data", (), ("encoder", "set", "overlap", "source"), tuple(rows))


def markdown(result: BenchResult) -> str:
    """Return the report as Markdown."""
    lines = [f"# {result.suite.title}", "", result.suite.description, ""]
    for table in tables(result):
        lines += [f"## {table.title}", "", *(f"- {note}" for note in table.notes), *([""] if table.notes else [])]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in (table.header,)]
        lines += ["|---" * len(table.header) + "|"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in table.rows] + [""]
    lines += ["## How to read this", "", *(f"- {text}" for text in (*HOW_TO_READ, DISCLAIMER)), ""]
    return "\n".join(lines)


def plain_rows(result: BenchResult) -> Iterator[dict[str, Any]]:
    """Yield a row of plain values for every score, by :data:`COLUMNS`."""
    for name, scored in result.sets.items():
        for spec in result.specs:
            overlap, cost = scored.overlaps[spec], scored.cells[spec].cost
            for score in scored.cells[spec].scores:
                interval = scored.interval(spec, score.name)
                assert interval is not None
                yield {
                    **{"encoder": spec, "set": name, "score": score.name, "metric": score.metric},
                    **interval.to_dict(),
                    **{"overlap": overlap.kind, "overlap_text": overlap.text},
                    **{"seconds_per_clip": cost.seconds / max(cost.clips, 1), "gigabytes": cost.gigabytes},
                }


def to_json(result: BenchResult) -> dict[str, Any]:
    """Return everything as plain values; ``scores`` holds the rows of :func:`plain_rows`."""
    return {
        "suite": result.suite.title,
        "encoders": list(result.specs),
        "sets": {
            name: {
                **{"title": scored.config.title, "items": scored.num_items, "groups": scored.num_groups},
                **{"group": scored.config.group, "classes": list(scored.classes), "split": scored.config.split},
                **{"split_source": scored.config.split_source, "view": scored.config.view, "notes": list(scored.notes)},
            }
            for name, scored in result.sets.items()
        },
        "scores": list(plain_rows(result)),
        "comparisons": [
            {
                **{"set": each.set_name, "score": each.score, "encoder": each.encoder, "reference": result.specs[0]},
                **{"difference": each.difference.to_dict(), "p": plain(each.p), "p_holm": plain(each.p_holm)},
            }
            for each in result.comparisons
        ],
        "settings": dict(result.settings),
        "notes": [*HOW_TO_READ, DISCLAIMER],
        "library": {"endofm": __version__},
    }


def _set_table(result: BenchResult, name: str, scored: ScoredSet) -> Table:
    config, names = scored.config, scored.score_names
    metrics = {score.name: score.metric for cell in scored.cells.values() for score in cell.scores}
    rows = []
    for spec in result.specs:
        mark = scored.overlaps[spec].mark
        cells = [_interval(scored.interval(spec, score), mark) for score in names]
        rows.append((spec, *cells, *_costs([scored], spec)))
    notes = (
        f"{config.title}: {scored.num_items} items of {scored.num_groups} groups ({config.group}); classes: "
        f"{', '.join(scored.classes[:12])}{', ...' if len(scored.classes) > 12 else ''}.",
        f"Split: {config.split}. Source of the split: {config.split_source}.",
        *scored.notes,
    )
    titles = (score if score.lower() == metrics[score] else f"{score} ({metrics[score]})" for score in names)
    header = ("encoder", *titles, "s/clip", "GB")
    return Table(name, notes, header, tuple(rows))


def _paired_table(result: BenchResult) -> Table:
    rows = [
        (
            f"{each.set_name} {each.score}",
            each.encoder,
            f"{each.difference.value:+.3f}",
            _ends(each.difference),
            _p(each.p),
            _p(each.p_holm),
        )
        for each in result.comparisons
    ]
    title = f"Paired differences: {result.specs[0]} minus another"
    return Table(title, (), ("score", "other", "difference", "95 % interval", "p", "p, Holm"), tuple(rows))


def _value(scored: ScoredSet, spec: str, name: str) -> str:
    score = scored.score(spec, name)
    return "" if score is None else " ".join(filter(None, (f"{score.value:.3f}", scored.overlaps[spec].mark)))


def _interval(interval: Interval | None, mark: str) -> str:
    return "" if interval is None else " ".join(filter(None, (str(interval).replace("  ", " "), mark)))


def _ends(interval: Interval) -> str:
    return "" if interval.low != interval.low else f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def _p(value: float) -> str:
    return "" if value != value else f"{value:.3f}"


def _costs(sets: Sequence[ScoredSet], spec: str) -> tuple[str, str]:
    costs = [scored.cells[spec].cost for scored in sets]
    seconds = sum(cost.seconds for cost in costs) / max(sum(cost.clips for cost in costs), 1)
    memory = [cost.gigabytes for cost in costs if cost.gigabytes is not None]
    return f"{seconds:.2g}", f"{max(memory):.2f}" if memory else ""


def _cell(text: str) -> str:
    """Return a cell of Markdown, in which a bar would end it."""
    return text.replace("|", "\\|").replace("\n", " ")
