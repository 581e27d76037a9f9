"""Results of a campaign as JSON lines, written as they come and read to continue an interrupted campaign."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.robustness.sandbox import Case, Outcome, Result


class ResultsFile:
    """One line per attack. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[tuple[str, str], Result] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, KeyError):  # the line at which a campaign was interrupted
                    values = json.loads(line)
                    result = Result(values["kind"], values["name"], Outcome(values["outcome"]), values["detail"])
                    self._known[result.kind, result.name] = result

    def known(self, cases: Iterable[Case]) -> tuple[list[Result], Iterator[Case]]:
        """Divide cases into results of an earlier run and cases that are still to be run; the latter lazily."""
        results: list[Result] = []

        def remaining() -> Iterator[Case]:
            for case in cases:
                if (result := self._known.get((case.kind, case.name))) is not None:
                    results.append(result)
                else:
                    yield case

        return results, remaining()

    def add(self, result: Result) -> None:
        """Append a result."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(result)) + "\n")
