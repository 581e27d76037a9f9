"""Training, validation and test sets of a fine-tuning run, disjoint by patient or video."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from endofm.data.hold_out import require_disjoint
from endofm.data.same_files import identities
from endofm.errors import InputError

Labelled = TypeVar("Labelled")


@dataclass(frozen=True)
class Subsets(Generic[Labelled]):
    """Labelled clips or videos by their use.

    Attributes:
        train: Trained on.
        validation: Used to choose the epoch.
        test: Reported on; None if there is none.
        notes: What a reader of the report has to know.
        left_out: What the lists name and the sets do not hold, one sentence each, for report and model card.
    """

    train: Labelled
    validation: Labelled
    test: Labelled | None
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        train: Labelled,
        validation: Labelled | None,
        test: Labelled | None,
        *,
        hold_out: Callable[[Labelled], tuple[Labelled, Labelled]],
        groups_of: Callable[[Labelled], Collection[str]],
        files_of: Callable[[Labelled], Sequence[Path]] | None = None,
        select_on_test: bool = False,
        allow_overlap: bool = False,
        unit: str = "patients or videos",
    ) -> Subsets[Labelled]:
        """Return three sets that share no patient or video.

        Args:
            train: Set to train on.
            validation: Set to choose the epoch on; None to hold out a part of ``train``.
            test: Set to report on.
            hold_out: Splits a set into a part to train on and a held-out part.
            groups_of: Returns the patients or videos of a set.
            files_of: Returns its files. A file must not be in two sets either, whatever its path, nor a copy of it; a
                held-out set is what ``hold_out`` makes it.
            select_on_test: Use the test set as validation set, as published.
            allow_overlap: Describe an overlap in the notes rather than refuse it.
            unit: Name of what ``groups_of`` returns, for messages.

        Raises:
            InputError: If sets overlap, or there is no test set to select on.
        """
        notes, held = [], validation is None
        if select_on_test:
            if test is None:
                raise InputError("choosing the epoch on the test set needs a test set: data.test")
            validation = test
            notes.append("The epoch was chosen on the test set, as published: these numbers are too good.")
        elif validation is None:
            train, validation = hold_out(train)
        # A validation set that is the test set overlaps with it by intention.
        sets = {"training": groups_of(train)}
        if not select_on_test:
            sets["validation"] = groups_of(validation)
        if test is not None:
            sets["test"] = groups_of(test)
        remedy = "If that is intended, set data.allow_overlap=true"
        notes += require_disjoint(sets, allow=allow_overlap, unit=unit, remedy=remedy)
        if files_of is not None and not notes[select_on_test:]:
            files = {"training": files_of(train), "test": files_of(test) if test is not None else []}
            if not select_on_test:
                files["training" if held else "validation"] = [
                    *(files["training"] if held else ()),
                    *files_of(validation),
                ]
            names = iter(identities([path for paths in files.values() for path in paths]))
            by_identity = {name: set(islice(names, len(paths))) for name, paths in files.items()}
            notes += require_disjoint(by_identity, allow=allow_overlap, unit="files or copies of them", remedy=remedy)
        return cls(train, validation, test, tuple(notes))

    def reported(self) -> tuple[Labelled, str, list[str]]:
        """Return the set to report on, its name, and all notes on it."""
        if self.test is not None:
            return self.test, "test", [*self.notes, *self.left_out]
        flattered = "There is no test set: the epoch was chosen on the set that is reported, which flatters it."
        return self.validation, "validation", [*self.notes, *self.left_out, flattered]
