"""Scores that can be read: cosines after centring, compared with those of unrelated pairs of clips.

Embeddings of an encoder share a large common component, so that the cosines of unrelated clips lie at 0.6 to 0.9. The
mean over recordings is subtracted from every unit vector before cosines are taken (the first step of Mu and Viswanath,
"All-but-the-Top", ICLR 2018), and the scores of pairs that are known to be unrelated say what a score is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError

Float32Array = npt.NDArray[np.float32]

PAIRS = 200_000
"""Pairs of unrelated clips from which the distribution is estimated."""

# Fine towards 1: the neighbours that a search returns all lie there.
_LEVELS = np.concatenate(
    [np.linspace(0, 0.98, 99), np.linspace(0.99, 0.998, 9), np.linspace(0.999, 0.9998, 9), [0.9999, 0.99995, 1.0]]
)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Centre of a library's embeddings and the distribution of scores of unrelated pairs.

    Attributes:
        mean: Mean unit vector over recordings, each counted once, ``embed_dim`` numbers.
        quantiles: Scores of unrelated pairs at the levels of this module, ascending; empty if there are no such pairs.
        pairs: Number of pairs that were compared.
        recordings: Number of recordings of the library when this was computed.
    """

    mean: tuple[float, ...]
    quantiles: tuple[float, ...] = ()
    pairs: int = 0
    recordings: int = 0

    @classmethod
    def estimate(
        cls, units: Float32Array, recordings: Sequence[int], patients: Sequence[str], *, total: int, seed: int = 0
    ) -> Calibration:
        """Return the calibration of a sample of clips.

        A pair is unrelated if its clips are of different recordings and not known to be of one patient.

        Args:
            units: Unit vectors, float32 ``(clips, embed_dim)``, at least one.
            recordings: Recording of each clip.
            patients: Patient of each clip, ``""`` if unknown.
            total: Recordings of the library.
            seed: Seed of the choice of pairs.
        """
        _, of = np.unique(np.asarray(recordings), return_inverse=True)
        counts = np.bincount(of)
        mean = np.average(units.astype(np.float64), axis=0, weights=1 / counts[of])
        centred, _ = centre(units, mean)
        _, person = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
        known = np.array([bool(patient) for patient in patients])
        left, right = np.random.default_rng(seed).integers(len(units), size=(2, PAIRS))
        unrelated = (of[left] != of[right]) & ~(known[left] & (person[left] == person[right]))
        left, right = left[unrelated], right[unrelated]
        quantiles: tuple[float, ...] = ()
        if len(left):
            scores = np.einsum("ij,ij->i", centred[left], centred[right])
            quantiles = tuple(float(f"{value:.6g}") for value in np.quantile(scores, _LEVELS))
        return cls(mean=tuple(map(float, mean)), quantiles=quantiles, pairs=len(left), recordings=total)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration that :meth:`to_dict` described."""
        return cls(**{**values, "mean": tuple(values["mean"]), "quantiles": tuple(values["quantiles"])})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def centred(self, units: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return unit vectors after the mean is subtracted, and the lengths that they had; see :func:`centre`."""
        return centre(units, np.array(self.mean))

    def restored(self, vectors: Float32Array, lengths: Float32Array) -> Float32Array:
        """Return the unit vectors that :meth:`centred` was given."""
        return unit_rows(vectors * lengths[:, None] + np.array(self.mean))

    def rank(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64] | None:
        """Return the fraction of unrelated pairs that are less similar, in [0, 1]; None if there are no such pairs.

        Above the most similar pair of the sample the fraction is ``1 - 1 / pairs``: more was not observed.
        """
        if not self.quantiles:
            return None
        fractions: npt.NDArray[np.float64] = np.interp(np.asarray(scores, np.float64), self.quantiles, _LEVELS)
        return fractions.clip(max=1 - 1 / self.pairs)

    def score_at(self, level: float) -> float:
        """Return the score below which a fraction of the unrelated pairs lies."""
        return float(np.interp(level, _LEVELS, self.quantiles))

    def density(self, bins: int = 60) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return edges ``(bins + 1,)`` and densities ``(bins,)`` of the scores of unrelated pairs, for a picture."""
        edges = np.linspace(self.quantiles[0], max(self.quantiles[-1], self.quantiles[0] + 1e-6), bins + 1)
        below = np.interp(edges, self.quantiles, _LEVELS)
        return edges, np.diff(below) / np.diff(edges)


def unit_rows(rows: npt.NDArray[Any]) -> Float32Array:
    """Return rows of length 1; rows of zeros stay zeros."""
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InputError(f"embeddings are finite numbers (clips, embed_dim), got shape {values.shape}")
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1), np.float32)


def centre(units: Float32Array, mean: npt.NDArray[np.float64]) -> tuple[Float32Array, Float32Array]:
    """Return unit vectors after a mean is subtracted, float32 ``(clips, embed_dim)``, and the lengths ``(clips,)``."""
    moved = units.astype(np.float64) - mean
    lengths = np.linalg.norm(moved, axis=1)
    # A single recording of equal clips is its own mean; what is left of it is rounding and has no direction.
    solid = lengths > 1e-6
    vectors = np.where(solid[:, None], moved / np.where(solid, lengths, 1)[:, None], 0)
    return vectors.astype(np.float32), np.where(solid, lengths, 0).astype(np.float32)
