"""Labelled data by its use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Labelled = TypeVar("Labelled")


@dataclass(frozen=True)
class Subsets(Generic[Labelled]):
    """Clips or videos by their use.

    Attributes:
        train: Learnt from.
        validation: Used to choose the epoch.
        test: Reported on; None if there is none.
        notes: What a reader of the report has to know.
    """

    train: Labelled
    validation: Labelled
    test: Labelled | None
    notes: tuple[str, ...] = ()

    def reported(self) -> tuple[Labelled, str, list[str]]:
        """Return what the report is about, what it is called there, and all notes on it."""
        if self.test is not None:
            return self.test, "test", [*self.notes]
        chosen = "There is no test set: the epoch was chosen on the set that is reported, which flatters it."
        return self.validation, "validation", [*self.notes, chosen]
