"""Every number about a detector, over any choice of videos.

=========================  =============================================================================================
name                       means
=========================  =============================================================================================
ap50, ap50_95              average precision at an overlap of 0.5, and the mean over 0.5, 0.55 ... 0.95 (COCO)
iou_precision, _recall,    boxes from the threshold on that overlap an object by at least 0.5, whatever the classes
_f1
centre_precision, ...      the same where the centre of a box lies in the object's
presence_precision, ...    frame-level presence (:mod:`endofm.evaluation.detection.presence`): ``presence_f1`` is what
presence_f1, presence_f2   the original calls its F1
recall_at_N_per_minute     share of objects that are hit where the threshold lets through N false boxes per minute
false_alarms_per_minute    false boxes per minute of video at the threshold
lesion_sensitivity         share of lesions that are hit in at least one frame at the threshold
lesion_frames              mean over lesions of the share of their frames in which they are hit
=========================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from endofm.evaluation.detection.average_precision import AveragePrecision
from endofm.evaluation.detection.matching import FrameMatches, localisation_counts, match_frame
from endofm.evaluation.detection.presence import PresenceCounts, f_score, presence_counts, presence_metrics
from endofm.evaluation.detection.records import DetectionResults, VideoResult

ALARM_RATES = (1.0, 5.0, 20.0)
"""False boxes per minute at which recall is told."""

_NAN = float("nan")


class _VideoSums(NamedTuple):
    """What one video adds to every metric but average precision."""

    seconds: float
    objects: int
    presence: PresenceCounts
    iou: tuple[int, int, int]
    centre: tuple[int, int, int]
    hit_scores: np.ndarray[tuple[int], np.dtype[np.float32]]
    false_scores: np.ndarray[tuple[int], np.dtype[np.float32]]
    lesion_shares: tuple[float, ...]


class DetectionMetrics:
    """Looks at every frame once, and then gives all metrics over any choice of videos.

    Args:
        results: Boxes found and true; the found ones without a threshold, since curves need them all.
        threshold: Score from which a box counts where a threshold is needed.
    """

    def __init__(self, results: DetectionResults, *, threshold: float = 0.5) -> None:
        self.results, self.threshold = results, threshold
        self._precision = AveragePrecision(results)
        self._sums = [_sums(video, threshold) for video in results.videos]

    def over(self, videos: Sequence[int] | None = None) -> dict[str, float]:
        """Return every metric of the module's table.

        Args:
            videos: Places of videos, which may occur several times; all by default.
        """
        chosen = range(len(self._sums)) if videos is None else videos
        sums = [self._sums[place] for place in chosen]
        presence = PresenceCounts(*(sum(counts) for counts in zip(*(s.presence for s in sums), strict=True)))
        minutes = sum(s.seconds for s in sums) / 60
        shares = [share for s in sums for share in s.lesion_shares]
        iou = [sum(counts) for counts in zip(*(s.iou for s in sums), strict=True)]
        return {
            **self._precision.over(list(chosen)),
            **_localisation("iou", [s.iou for s in sums]),
            **_localisation("centre", [s.centre for s in sums]),
            **presence_metrics(presence),
            **_recall_at_alarms(sums, minutes),
            "false_alarms_per_minute": iou[1] / minutes if minutes else _NAN,
            "lesion_sensitivity": float(np.mean([share > 0 for share in shares])) if shares else _NAN,
            "lesion_frames": float(np.mean(shares)) if shares else _NAN,
        }


def _sums(video: VideoResult, threshold: float) -> _VideoSums:
    by_iou = [match_frame(frame, "iou") for frame in video.frames]
    by_centre = [match_frame(frame, "centre") for frame in video.frames]
    hits = [m.scores[m.hits >= 0] for m in by_iou]
    false = [m.scores[m.hits < 0] for m in by_iou]
    return _VideoSums(
        seconds=video.seconds,
        objects=sum(m.objects for m in by_iou),
        presence=presence_counts(video.frames, threshold),
        iou=localisation_counts(by_iou, threshold),
        centre=localisation_counts(by_centre, threshold),
        hit_scores=np.concatenate([*hits, np.zeros(0, np.float32)]),
        false_scores=np.concatenate([*false, np.zeros(0, np.float32)]),
        lesion_shares=_lesion_shares(video, by_iou, threshold),
    )


def _lesion_shares(video: VideoResult, matches: Sequence[FrameMatches], threshold: float) -> tuple[float, ...]:
    """Return for each lesion the share of its frames in which it is hit."""
    seen: dict[int, int] = {}
    hit: dict[int, int] = {}
    for frame, match in zip(video.frames, matches, strict=True):
        found = set(match.hits[(match.scores >= threshold) & (match.hits >= 0)].tolist())
        for place, lesion in enumerate(frame.true_tracks.tolist()):
            seen[lesion] = seen.get(lesion, 0) + 1
            hit[lesion] = hit.get(lesion, 0) + (place in found)
    return tuple(hit[lesion] / seen[lesion] for lesion in seen)


def _localisation(name: str, counts: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    hit, false, missed = (sum(values) for values in zip(*counts, strict=True))
    precision = hit / (hit + false) if hit + false else 0.0
    recall = hit / (hit + missed) if hit + missed else _NAN
    return {
        f"{name}_precision": precision,
        f"{name}_recall": recall,
        f"{name}_f1": f_score(precision, recall),
    }


def _recall_at_alarms(sums: Sequence[_VideoSums], minutes: float) -> dict[str, float]:
    """Return the recall at the lowest threshold that keeps false boxes within each rate."""
    hits = np.sort(np.concatenate([s.hit_scores for s in sums]))
    false = np.sort(np.concatenate([s.false_scores for s in sums]))[::-1]
    objects = sum(s.objects for s in sums)
    found = {}
    for rate in ALARM_RATES:
        allowed = int(rate * minutes + 1e-9)
        # Above the first false box too many; hits that tie with it are not counted.
        limit = false[allowed] if allowed < len(false) else -1.0
        recall = float(len(hits) - np.searchsorted(hits, limit, side="right")) / objects if objects else _NAN
        found[f"recall_at_{rate:g}_per_minute"] = recall
    return found
