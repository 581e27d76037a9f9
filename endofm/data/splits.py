"""Splits by patient or recording, never by clip or frame."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from endofm.data.clip_table import ClipTable
from endofm.errors import EndoFMWarning, InputError


class EmptyPartWarning(EndoFMWarning):
    """A part of a split holds no clip."""


def split_by_group(
    table: ClipTable, fractions: Mapping[str, float], *, seed: int = 0
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the clips of each part of a split that keeps patients, or else recordings, whole.

    Where a group goes depends on its name and the seed alone, so that clips which are added later change nothing for
    those that are there. For the same reason the parts have their fractions of the groups on average only; with few
    groups one may come out empty, of which an :class:`EmptyPartWarning` tells.

    Args:
        table: The clips. Their group is the patient, else the recording, else the clip.
        fractions: Name of each part and its share of the groups; the shares add up to 1.
        seed: Another seed gives another split.

    Returns:
        For each part the positions of its clips, ascending.

    Raises:
        InputError: If the fractions are not positive or do not add up to 1.
    """
    shares = np.array(list(fractions.values()), np.float64)
    if not len(shares) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"the fractions of a split must be positive and add up to 1, got {dict(fractions)}")
    bounds = np.cumsum(shares)
    places = {
        group: min(int(np.searchsorted(bounds, _position(group, seed), side="right")), len(shares) - 1)
        for group in {table.group(place) for place in range(len(table))}
    }
    part = np.array([places[table.group(place)] for place in range(len(table))], np.int64)
    parts = {name: np.flatnonzero(part == number) for number, name in enumerate(fractions)}
    empty = [name for name, chosen in parts.items() if len(chosen) == 0]
    if empty:
        warnings.warn(
            f"{' and '.join(empty)} came out empty: {len(places)} patients or recordings are few for the shares "
            f"{dict(fractions)}; try another seed",
            EmptyPartWarning,
            stacklevel=2,
        )
    return parts


def _position(group: str, seed: int) -> float:
    """Return a number in [0, 1) that looks random and depends on the arguments alone."""
    digest = hashlib.sha256(f"{seed}\n{group}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
