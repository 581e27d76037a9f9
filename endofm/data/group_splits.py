"""Splits into any number of parts by patient or recording, never by clip or frame.

:mod:`endofm.data.hold_out` separates an exact number of patients, for validation. Here each patient is drawn
independently, so that a growing archive can be split again without moving anyone.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from endofm.data.clip_table import ClipTable
from endofm.errors import EndoFMWarning, InputError


class EmptyPartWarning(EndoFMWarning):
    """A part of a split is empty."""


def split_by_group(
    table: ClipTable, fractions: Mapping[str, float], *, seed: int = 0
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the clips of each part of a split that keeps patients, or else recordings, together.

    The part of a group depends on its name and the seed alone, so clips that are added later do not move any others.
    For the same reason the parts have their fractions of the groups on average only; with few groups a part may be
    empty, which an :class:`EmptyPartWarning` reports.

    Args:
        table: The clips. Their group is the patient, else the recording, else the clip.
        fractions: Name of each part and its fraction of the groups; the fractions add up to 1.
        seed: Another seed gives another split.

    Returns:
        The indices of the clips of each part, ascending.

    Raises:
        InputError: If the fractions are not positive or do not add up to 1.
    """
    sizes = np.array(list(fractions.values()), np.float64)
    if not len(sizes) or not (sizes > 0).all() or abs(sizes.sum() - 1) > 1e-6:
        raise InputError(f"the fractions of a split must be positive and add up to 1, got {dict(fractions)}")
    # [0, 1) is cut into intervals as long as the fractions; a group belongs where its hash falls.
    bounds = np.cumsum(sizes)
    part_of = {
        group: min(int(np.searchsorted(bounds, _unit_hash(group, seed), side="right")), len(sizes) - 1)
        for group in {table.group(index) for index in range(len(table))}
    }
    part = np.array([part_of[table.group(index)] for index in range(len(table))], np.int64)
    parts = {name: np.flatnonzero(part == number) for number, name in enumerate(fractions)}
    empty = [name for name, indices in parts.items() if len(indices) == 0]
    if empty:
        warnings.warn(
            f"{' and '.join(empty)} came out empty: {len(part_of)} patients or recordings are few for the fractions "
            f"{dict(fractions)}; try another seed",
            EmptyPartWarning,
            stacklevel=2,
        )
    return parts


def _unit_hash(group: str, seed: int) -> float:
    """Return a pseudo-random number in [0, 1) that depends on the arguments alone."""
    digest = hashlib.sha256(f"{seed}\n{group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
