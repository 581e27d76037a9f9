"""Detection metrics over any selection of videos.

=========================  =============================================================================================
name                       definition
=========================  =============================================================================================
ap50, ap50_95              average precision at an overlap of 0.5, and the mean over 0.5, 0.55 ... 0.95 (COCO)
iou_precision, _recall,    boxes that reach the threshold and overlap an object by at least 0.5, whatever the classes
_f1
centre_precision, ...      the same for boxes whose centre lies within the object's box
presence_precision, ...    frame-level presence (:mod:`endofm.evaluation.frame_presence`); ``presence_f1`` is the
presence_f1, presence_f2   published F1
recall_at_N_per_minute     fraction of the objects that are hit at the lowest threshold with at most N false boxes per
                           minute
false_alarms_per_minute    false boxes per minute of video at the threshold
lesion_sensitivity         fraction of the lesions that are hit in at least one frame at the threshold
lesion_frames              mean over lesions of the fraction of their frames in which they are hit
=========================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from endofm.evaluation.average_precision import AveragePrecision
from endofm.evaluation.box_matching import FrameMatches, localisation_counts, match_frame
from endofm.evaluation.detection_records import DetectionResults, VideoResult
from endofm.evaluation.frame_presence import PresenceCounts, f_score, presence_counts, presence_metrics

ALARM_RATES = (1.0, 5.0, 20.0)
"""False boxes per minute at which recall is reported."""

_NAN = float("nan")


class _VideoSums(NamedTuple):
    """Contribution of one video to every metric other than average precision."""

    seconds: float
    objects: int
    presence: PresenceCounts
    iou: tuple[int, int, int]
    centre: tuple[int, int, int]
    hit_scores: np.ndarray[tuple[int], np.dtype[np.float32]]
    false_scores: np.ndarray[tuple[int], np.dtype[np.float32]]
    lesion_fractions: tuple[float, ...]


class DetectionMetrics:
    """All metrics over any selection of videos; every frame is matched once.

    Args:
        results: True boxes, and predicted ones without a threshold, since curves need them all.
        threshold: Score from which a box counts in the metrics that need a threshold.
    """

    def __init__(self, results: DetectionResults, *, threshold: float = 0.5) -> None:
        self.results, self.threshold = results, threshold
        self._precision = AveragePrecision(results)
        self._sums = [_sums(video, threshold) for video in results.videos]

    def over(self, videos: Sequence[int] | None = None) -> dict[str, float]:
        """Return every metric of the module's table.

        Counts are added over the videos before ratios are formed, so that long videos weigh more than short ones.

        Args:
            videos: Indices of videos, which may be repeated; all videos by default.
        """
        selected = range(len(self._sums)) if videos is None else videos
        sums = [self._sums[index] for index in selected]
        presence = PresenceCounts(*(sum(counts) for counts in zip(*(s.presence for s in sums), strict=True)))
        minutes = sum(s.seconds for s in sums) / 60
        fractions = [fraction for s in sums for fraction in s.lesion_fractions]
        iou = [sum(counts) for counts in zip(*(s.iou for s in sums), strict=True)]
        return {
            **self._precision.over(list(selected)),
            **_localisation("iou", [s.iou for s in sums]),
            **_localisation("centre", [s.centre for s in sums]),
            **presence_metrics(presence),
            **_recall_at_alarms(sums, minutes),
            "false_alarms_per_minute": iou[1] / minutes if minutes else _NAN,
            "lesion_sensitivity": float(np.mean([fraction > 0 for fraction in fractions])) if fractions else _NAN,
            "lesion_frames": float(np.mean(fractions)) if fractions else _NAN,
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
        # The empty array keeps the type where no frame has a box.
        hit_scores=np.concatenate([*hits, np.zeros(0, np.float32)]),
        false_scores=np.concatenate([*false, np.zeros(0, np.float32)]),
        lesion_fractions=_lesion_fractions(video, by_iou, threshold),
    )


def _lesion_fractions(video: VideoResult, matches: Sequence[FrameMatches], threshold: float) -> tuple[float, ...]:
    """Return for each lesion the fraction of its frames in which it is hit."""
    shown: dict[int, int] = {}
    hit: dict[int, int] = {}
    for frame, match in zip(video.frames, matches, strict=True):
        hit_objects = set(match.hits[(match.scores >= threshold) & (match.hits >= 0)].tolist())
        for index, lesion in enumerate(frame.true_tracks.tolist()):
            shown[lesion] = shown.get(lesion, 0) + 1
            hit[lesion] = hit.get(lesion, 0) + (index in hit_objects)
    return tuple(hit[lesion] / shown[lesion] for lesion in shown)


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
    recalls = {}
    for rate in ALARM_RATES:
        # The small term keeps 5 per minute x 0.2 minutes from falling to 0 by rounding.
        allowed = int(rate * minutes + 1e-9)
        # The threshold lies just above the first false box too many; hits that tie with it are not counted.
        limit = false[allowed] if allowed < len(false) else -1.0
        recall = float(len(hits) - np.searchsorted(hits, limit, side="right")) / objects if objects else _NAN
        recalls[f"recall_at_{rate:g}_per_minute"] = recall
    return recalls
