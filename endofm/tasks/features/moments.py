"""Moments of a video by its features: where it changes, its segments, and frames that show all of it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from endofm.arguments import integer_argument
from endofm.errors import require_extra
from endofm.video.frames import Float64Array

_NEIGHBOURS = 4
"""Clips on either side that novelty compares."""

_LARGEST_NUMBER_OF_SEGMENTS = 60
_MOST_ROWS = 1500
_MOST_CANDIDATES = 2000


class NoveltyPeak(NamedTuple):
    """A moment at which a video changes.

    Attributes:
        seconds: Time of the change, seconds after the first frame.
        novelty: Value of the novelty curve, in [0, 2].
        clip: Index of the first clip after the change.
    """

    seconds: float
    novelty: float
    clip: int


class Segment(NamedTuple):
    """A part of a video whose clips resemble each other; ``features[segment.clips]`` are its features.

    Attributes:
        start_seconds: Start, seconds after the first frame.
        end_seconds: End; the start of the next segment.
        clips: Clips that begin in it.
    """

    start_seconds: float
    end_seconds: float
    clips: slice


class KeyFrame(NamedTuple):
    """A frame that stands for a part of the video.

    Attributes:
        seconds: Its time, seconds after the first frame: the middle of its clip.
        clip: Index of the clip.
        share: Fraction of all clips that resemble this one more than any other key frame, in (0, 1].
    """

    seconds: float
    clip: int
    share: float


def novelty_curve(embeddings: npt.NDArray[np.floating], half_width: int = _NEIGHBOURS) -> Float64Array:
    """Return the novelty of each clip: high where the video changes.

    A checkerboard kernel with a Gaussian taper slides along the diagonal of the self-similarity matrix: high where the
    clips before resemble each other, the clips after resemble each other, and the two groups differ (Foote,
    "Automatic audio segmentation using a measure of audio novelty", ICME 2000).

    Args:
        embeddings: Embeddings of length 1, ``(num_clips, embed_dim)``, in order of time.
        half_width: Number of clips on either side that are compared.

    Returns:
        float64 ``(num_clips,)``, >= 0; the value of clip ``i`` belongs to the border between ``i - 1`` and ``i``.
    """
    count = len(embeddings)
    offsets = np.arange(-half_width, half_width) + 0.5
    taper = np.exp(-0.5 * (offsets / (half_width / 2)) ** 2) * np.sign(offsets)
    # The kernel is an outer product, so that sum(kernel * similarity) is the squared length of a weighted sum of rows.
    rows = np.asarray(embeddings, np.float64)
    # Mirrored, so that a video does not seem to change where it begins and ends.
    padded = np.pad(rows, ((half_width, half_width), (0, 0)), mode="symmetric" if count else "empty")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half_width, axis=0)[:count]
    return np.asarray((np.square(windows @ taper)).sum(axis=1) / np.abs(taper).sum() ** 2, np.float64)


def novelty_peaks(
    curve: Float64Array, start_seconds: Float64Array, end_seconds: Float64Array, n: int | None = None
) -> list[NoveltyPeak]:
    """Return the peaks of a novelty curve that stand out from the rest of it, in order of time.

    Args:
        curve: As :func:`novelty_curve` returns it.
        start_seconds: Start of each clip, float64 ``(num_clips,)``.
        end_seconds: End of each clip, float64 ``(num_clips,)``.
        n: Largest number of peaks, the highest first; None for all.

    Raises:
        InputError: If ``n`` is not a positive integer.
    """
    limit = len(curve) if n is None else integer_argument(n, "n")
    if len(curve) < 2:
        return []
    middle = float(np.median(curve))
    # Three standard deviations of a normal distribution, estimated from the median, which peaks do not move.
    threshold = max(middle + 3 * 1.4826 * float(np.median(np.abs(curve - middle))), 1e-6)
    chosen: list[int] = []
    # The first clip has no border before it.
    for clip in sorted(range(1, len(curve)), key=lambda clip: -curve[clip]):
        if curve[clip] <= threshold or len(chosen) == limit:
            break
        near = curve[max(clip - _NEIGHBOURS, 0) : clip + _NEIGHBOURS + 1]
        if curve[clip] == near.max() and all(abs(clip - other) > _NEIGHBOURS for other in chosen):
            chosen.append(clip)
    borders = clip_borders(start_seconds, end_seconds)
    return [NoveltyPeak(float(borders[clip]), float(curve[clip]), clip) for clip in sorted(chosen)]


def find_segments(
    embeddings: npt.NDArray[np.floating], start_seconds: Float64Array, end_seconds: Float64Array, n: int | None = None
) -> list[Segment]:
    """Divide a video where its embeddings change; see :meth:`Moments.segments`.

    Args:
        embeddings: Embeddings of length 1, ``(num_clips, embed_dim)``, in order of time.
        start_seconds: Start of each clip, float64 ``(num_clips,)``.
        end_seconds: End of each clip, float64 ``(num_clips,)``.
        n: Number of segments; None to choose it.
    """
    wanted = None if n is None else integer_argument(n, "n")
    count = len(embeddings)
    if not count:
        return []
    ruptures = require_extra("ruptures", "report", "Finding segments")
    # Clips that share frames would look like changes of one piece; their means over a window are independent.
    step = max(_clips_per_window(start_seconds, end_seconds), -(-count // _MOST_ROWS))
    rows = np.add.reduceat(np.asarray(embeddings, np.float64), np.arange(0, count, step))
    rows /= np.diff(np.append(np.arange(0, count, step), count))[:, None]
    # Half of the rows can be segments; a third is far beyond any true number, except in short videos.
    enough = min(max(len(rows) // 3, min(len(rows) // 2, 12)), _LARGEST_NUMBER_OF_SEGMENTS)
    largest = enough if wanted is None else min(len(rows) // 2, wanted)
    divisions = {1: [len(rows)]}
    if largest > 1:
        search = ruptures.KernelCPD(kernel="linear", min_size=2).fit(rows)
        # The largest number first: its search finds all smaller ones, which are then looked up.
        divisions.update({k + 1: search.predict(n_bkps=k) for k in range(largest - 1, 0, -1)})
    chosen = max(divisions) if wanted is not None else _number_of_segments(rows, divisions)
    edges = [0, *(min(end * step, count) for end in divisions[chosen])]
    borders = clip_borders(start_seconds, end_seconds)
    return [Segment(float(borders[a]), float(borders[b]), slice(a, b)) for a, b in pairwise(edges)]


def clip_borders(start_seconds: Float64Array, end_seconds: Float64Array) -> Float64Array:
    """Return the time between each clip and the one before, and both ends of the video, float64 ``(num_clips + 1,)``.

    Where clips overlap, what is new in a clip is not at its start but where the middles of both are equally far.
    """
    middles = (start_seconds + end_seconds) / 2
    return np.concatenate([start_seconds[:1], (middles[:-1] + middles[1:]) / 2, end_seconds[-1:]])


def _clips_per_window(start_seconds: Float64Array, end_seconds: Float64Array) -> int:
    if len(start_seconds) < 2:
        return 1
    hop = float(np.median(np.diff(start_seconds)))
    return max(math.ceil(float(np.median(end_seconds - start_seconds)) / hop - 1e-6), 1) if hop > 0 else 1


def _number_of_segments(rows: Float64Array, divisions: dict[int, list[int]]) -> int:
    """Return how many segments the data support, by the slope heuristic.

    The penalty of Lebarbier ("Detecting multiple change-points in the mean of Gaussian process by model selection",
    Signal Processing 2005), ``k (2 log(n / k) + 5)``, is scaled by twice the slope with which the cost falls where
    there are too many segments, as Arlot, Celisse and Harchaoui do for kernels (JMLR 2019): nothing is left to tune.
    """
    penalties = {k: k * (2 * math.log(len(rows) / k) + 5) for k in divisions}
    costs = {k: _cost(rows, ends) for k, ends in divisions.items()}
    many = [k for k in divisions if k >= 0.6 * max(divisions)]
    if len(many) < 2:
        return 1
    slope = min(float(np.polyfit([penalties[k] for k in many], [costs[k] for k in many], 1)[0]), 0.0)
    return min(divisions, key=lambda k: costs[k] - 2 * slope * penalties[k])


def _cost(rows: Float64Array, ends: list[int]) -> float:
    parts = (rows[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))
    return float(sum(np.square(part - part.mean(axis=0)).sum() for part in parts))


def pick_key_frames(
    embeddings: npt.NDArray[np.floating], start_seconds: Float64Array, end_seconds: Float64Array, n: int
) -> list[KeyFrame]:
    """Choose clips that together resemble all others most; see :meth:`Moments.key_frames`.

    Args:
        embeddings: Embeddings of length 1, ``(num_clips, embed_dim)``.
        start_seconds: Start of each clip, float64 ``(num_clips,)``.
        end_seconds: End of each clip, float64 ``(num_clips,)``.
        n: Largest number of key frames.
    """
    wanted, count = integer_argument(n, "n"), len(embeddings)
    # Of very many clips some are the candidates; all of them are to be resembled.
    candidates = np.arange(0, count, max(-(-count // _MOST_CANDIDATES), 1))
    similarity = np.asarray(embeddings, np.float32) @ np.asarray(embeddings, np.float32)[candidates].T
    best = np.full(count, -1.0, np.float32)
    chosen: list[int] = []
    for _ in range(min(wanted, len(candidates))):
        gains = np.maximum(similarity - best[:, None], 0).sum(axis=0)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, similarity[:, chosen[-1]])
    order = sorted(chosen)
    owners = similarity[:, order].argmax(axis=1) if order else np.zeros(0, np.intp)
    return [
        KeyFrame(
            float(start_seconds[candidates[one]] + end_seconds[candidates[one]]) / 2,
            int(candidates[one]),
            float((owners == place).mean()),
        )
        for place, one in enumerate(order)
    ]


class Moments:
    """Methods of :class:`~endofm.VideoFeatures` that find moments; a base of that class."""

    embeddings: npt.NDArray[np.float32]
    start_seconds: Float64Array
    end_seconds: Float64Array

    def novelty(self) -> Float64Array:
        """Return how much the video changes before each clip, float64 ``(num_clips,)``; see :func:`novelty_curve`."""
        return novelty_curve(self._unit())

    def novelty_peaks(self, n: int | None = None) -> list[NoveltyPeak]:
        """Return the moments at which the video changes most, in order of time.

        Args:
            n: Largest number of moments; None for all that stand out from the rest of the video.

        Raises:
            InputError: If ``n`` is not a positive integer.
        """
        return novelty_peaks(self.novelty(), self.start_seconds, self.end_seconds, n)

    def segments(self, n: int | None = None) -> list[Segment]:
        """Divide the video into parts whose clips resemble each other.

        Optimal for its number of segments (kernel change points of ``ruptures``), which is chosen by the slope
        heuristic unless it is given. A segment has at least two clips that share no frame; videos of fewer than about
        ten such clips are one segment.

        Args:
            n: Number of segments; fewer if the video is too short for them.

        Returns:
            The segments in order of time, without gaps; empty without clips.

        Raises:
            InputError: If ``n`` is not a positive integer.
            MissingExtraError: If ruptures is not installed.
        """
        return find_segments(self._unit(), self.start_seconds, self.end_seconds, n)

    def key_frames(self, n: int = 12) -> list[KeyFrame]:
        """Choose frames that differ from each other and together show all of the video; the same at every call.

        Greedy maximisation of facility location: the sum, over all clips, of the cosine similarity to the nearest
        chosen one. It reaches 63% of the optimum or more (Nemhauser, Wolsey and Fisher 1978), and unlike the choice of
        the farthest clip it does not collect what is blurred or black for a moment.

        Args:
            n: Number of key frames; fewer if the video has fewer clips.

        Returns:
            The key frames in order of time.

        Raises:
            InputError: If ``n`` is not a positive integer.
        """
        return pick_key_frames(self._unit(), self.start_seconds, self.end_seconds, n)

    def _unit(self) -> npt.NDArray[np.float64]:
        rows = np.asarray(self.embeddings, np.float64)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(length > 0, length, 1), np.float64)
