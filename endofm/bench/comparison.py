"""The comparison of encoders on the sets of a suite: every cell, the overlap, and the paired tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endofm.bench.cells import Cell, FileDigests, SetCells, remove_unused_embeddings
from endofm.bench.frozen import CONTROLS, UNTRAINED, make_frozen, record_of
from endofm.bench.overlap import Overlap, find_overlap
from endofm.bench.paired import Comparison, compare, with_holm
from endofm.bench.scores import ProbeScore
from endofm.bench.suite import SetConfig, Suite
from endofm.errors import InputError, quoted
from endofm.evaluation.bootstrap import Interval, interval_of
from endofm.resume import exclusive

ALL_CONTROLS = ("untrained", *CONTROLS)
"""Controls of every comparison; ``untrained`` stands for random weights in the architecture of the first encoder."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredSet:
    """A set with the cells of all encoders.

    Attributes:
        config: The set.
        cells: Cell of every encoder.
        overlaps: Overlap with the training data of every encoder.
        num_items: Items that are scored or trained on.
        num_groups: Groups of them.
        classes: Names of the classes.
        notes: What a reader has to know, one sentence each.
    """

    config: SetConfig
    cells: Mapping[str, Cell]
    overlaps: Mapping[str, Overlap]
    num_items: int
    num_groups: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def score_names(self) -> list[str]:
        """Names of the scores that any encoder has, in their order."""
        return list(dict.fromkeys(score.name for cell in self.cells.values() for score in cell.scores))

    def score(self, spec: str, name: str) -> ProbeScore | None:
        """Return a score of an encoder, None if it has none of this name."""
        return next((score for score in self.cells[spec].scores if score.name == name), None)

    def interval(self, spec: str, name: str) -> Interval | None:
        """Return a score with its interval."""
        score = self.score(spec, name)
        return None if score is None else interval_of(score.value, score.draws)


@dataclass(frozen=True, eq=False, kw_only=True)
class BenchResult:
    """A complete comparison.

    Attributes:
        suite: The suite.
        specs: Encoders and controls in their order; the first is the reference of the paired tests.
        sets: The sets by name.
        comparisons: The reference compared with every other encoder by every score.
        settings: How it was made, plain values.
    """

    suite: Suite
    specs: tuple[str, ...]
    sets: Mapping[str, ScoredSet]
    comparisons: Sequence[Comparison]
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Settings of a comparison.

    Attributes:
        frames: Frames of a clip; None for those of each encoder's preprocessing.
        resamples: Resamples of the intervals; 0 for none.
        device: Device that computes.
        local_files_only: Never touch the network.

    Raises:
        InputError: If a number is out of range.
    """

    frames: int | None = None
    resamples: int = 1000
    device: str | None = None
    local_files_only: bool = False

    def __post_init__(self) -> None:
        if (self.frames is not None and self.frames < 1) or self.resamples < 0:
            raise InputError(f"frames must be >= 1 and resamples >= 0, got {self.frames} and {self.resamples}")


def with_controls(weights: Sequence[str], controls: Sequence[str]) -> list[str]:
    """Return the encoders with the controls after them, each once.

    Args:
        weights: Encoders and controls that the user names.
        controls: Names of :data:`ALL_CONTROLS`.

    Raises:
        InputError: If there is no control of a name, or nothing to compare.
    """
    unknown = [name for name in controls if name not in ALL_CONTROLS]
    if unknown:
        raise InputError(f"there is no control {quoted(unknown[0])}; choose from {', '.join(ALL_CONTROLS)}")
    specs = list(dict.fromkeys(weights))
    trained = next((spec for spec in specs if spec not in CONTROLS and not spec.startswith(UNTRAINED)), None)
    for name in controls:
        # Random weights that the user names, of any seed, are the control already.
        if name == "untrained" and (trained is None or any(spec.startswith(f"{UNTRAINED}{trained}") for spec in specs)):
            continue
        specs.append(f"{UNTRAINED}{trained}" if name == "untrained" else name)
    if not specs:
        raise InputError("name the encoders to compare with --weights")
    return list(dict.fromkeys(specs))


def run_bench(
    suite: Suite,
    sets: Mapping[str, SetConfig],
    specs: Sequence[str],
    *,
    root: Path,
    out: Path,
    settings: BenchSettings | None = None,
    say: Callable[[str], None] = print,
) -> BenchResult:
    """Compare encoders; cells that an earlier run has finished are kept.

    Args:
        suite: The suite.
        sets: Its sets that are scored.
        specs: Encoders and controls; see :func:`~endofm.bench.frozen.make_frozen`.
        root: Folder of the sets.
        out: Folder of the comparison.
        settings: Numbers and device.
        say: Receives a line for every cell.

    Raises:
        EndoFMError: If a set or weights are missing, or a file cannot be read.
    """
    settings = settings or BenchSettings()

    def load(spec: str) -> Any:
        return make_frozen(
            spec, frames=settings.frames, device=settings.device, local_files_only=settings.local_files_only
        )

    with exclusive(out):
        # Everything is opened before anything is computed, so that what is missing is reported in the first minute.
        read = {name: config.read(root) for name, config in sets.items()}
        keys = {spec: load(spec).key for spec in specs}
        digests = FileDigests(out / "files.json")
        scored = {}
        for name, config in sets.items():
            data, cells = read.pop(name), {}
            with SetCells(name, config, data, out, resamples=settings.resamples, digests=digests) as set_cells:
                digests.save()
                for spec in specs:
                    kept = set_cells.kept(spec, keys[spec])
                    cells[spec] = kept or set_cells.compute(spec, load(spec))
                    say(_line(name, spec, cells[spec], kept is not None))
            scored[name] = ScoredSet(
                config=config,
                cells=cells,
                overlaps={spec: find_overlap(spec, record_of(spec), config) for spec in specs},
                num_items=len(data.items),
                num_groups=len(set(data.groups)),
                classes=data.classes,
                notes=(*data.notes, *dict.fromkeys(note for cell in cells.values() for note in cell.notes)),
            )
        remove_unused_embeddings(out)
    return BenchResult(
        suite=suite,
        specs=tuple(specs),
        sets=scored,
        comparisons=_comparisons(specs, scored),
        settings={"frames": settings.frames, "resamples": settings.resamples, "device": settings.device or "cpu"},
    )


def _comparisons(specs: Sequence[str], sets: Mapping[str, ScoredSet]) -> list[Comparison]:
    found = []
    for set_name, scored in sets.items():
        for name in scored.score_names:
            own = scored.score(specs[0], name)
            for spec in specs[1:]:
                other = scored.score(spec, name)
                if own is None or other is None:
                    continue
                difference, p = compare(own.value, other.value, own.draws, other.draws)
                found.append(Comparison(set_name=set_name, score=name, encoder=spec, difference=difference, p=p))
    return with_holm(found)


def _line(name: str, spec: str, cell: Cell, kept: bool) -> str:
    scores = "  ".join(f"{score.name} {interval_of(score.value, score.draws)}" for score in cell.scores)
    return f"{name:14} {spec:45} {scores or 'no score'}{'  (kept)' if kept else ''}"
