"""Scores of the packaged task models and of simple controls on labelled real pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from endofm import EndoFMForDetection, EndoFMForSegmentation, EndoFMForVideoClassification
from endofm.data.class_targets import Targets
from endofm.data.clip_table import ClipTable
from endofm.data.segmentation.mask_reading import read_frames, read_masks
from endofm.data.segmentation.masked_clips import MaskedClip, read_list
from endofm.data.stills.labelled_stills import boxed_stills
from endofm.data.stills.layouts import read_stills
from endofm.data.stills.still import still_table
from endofm.evaluation.bootstrap import Interval
from endofm.evaluation.classification_report import ClassificationReport
from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.evaluation.detection_records import DetectionResults, FrameResult
from endofm.evaluation.detection_report import DetectionReport
from endofm.evaluation.mask_metrics import ClipScores, score_clip
from endofm.evaluation.predictions import Predictions
from endofm.evaluation.run_classifier import run_classifier
from endofm.evaluation.run_detector import run_detector
from endofm.evaluation.run_segmenter import run_segmenter
from endofm.evaluation.segmentation_report import SegmentationReport
from endofm.tasks.classification.config import ClassificationHeadConfig

MASKS, BOXES, ORGANS = "endofm-nano-polyp-masks", "endofm-nano-polyp-boxes", "endofm-nano-organs"

REPORTED = {
    MASKS: ("dice_frame", "iou_frame", "missed_frames"),
    BOXES: ("ap50", "iou_f1", "iou_precision", "iou_recall"),
    ORGANS: ("accuracy", "balanced_accuracy"),
}
"""Metrics of the cards."""

LABELS = ("colon", "larynx", "abdomen")

_SHAPE = (64, 64)
_NEIGHBOURS = 5

Scores = Mapping[str, Interval]


def chosen(name: str, metrics: Scores) -> dict[str, Interval]:
    """Return the metrics of a model's card."""
    return {metric: metrics[metric] for metric in REPORTED[name]}


def mask_scores(model: EndoFMForSegmentation, work: Path, part: str) -> Scores:
    """Score masks of polyps."""
    return _mask_report(run_segmenter(model, _clips(work, part), mask_rule="bright", num_frames=1, overlap=0))


def mean_mask_scores(work: Path, part: str) -> Scores:
    """Score the same mask in every picture: the pixels that are polyp in a share of the training part.

    The share is the one with the largest mean Dice in the training part.
    """
    known = np.stack([_small(_truth(clip)) for clip in _clips(work, "train")])
    mean = known.mean(axis=0)
    shares = np.arange(0.05, 0.6, 0.05)
    dice = [2 * (known & (mean >= s)).sum((1, 2)) / (known.sum((1, 2)) + (mean >= s).sum()) for s in shares]
    mask = mean >= shares[int(np.argmax([values.mean() for values in dice]))]
    scores = []
    for clip in _clips(work, part):
        truth = _truth(clip)
        height, width = truth.shape
        rows, columns = np.arange(height) * _SHAPE[0] // height, np.arange(width) * _SHAPE[1] // width
        guess = mask[rows][:, columns].astype(np.uint8)[None]
        scores.append(score_clip(guess, truth[None].astype(np.uint8), num_classes=2, id=clip.id, group=clip.group))
    return _mask_report(scores)


def find_boxes(model: EndoFMForDetection, work: Path, part: str) -> DetectionResults:
    """Return the boxes of a detector, without a threshold, beside the true ones."""
    source = boxed_stills(str(work / "polyps"), part, model.labels)
    return run_detector(model, source, batch_size=8, progress=False)


def best_threshold(results: DetectionResults) -> float:
    """Return the score with the best F1 of boxes that overlap a polyp by half."""
    candidates = np.round(np.arange(0.2, 0.8, 0.025), 3)
    f1 = [DetectionMetrics(results, threshold=float(t)).over()["iou_f1"] for t in candidates]
    return float(candidates[int(np.argmax(f1))])


def box_scores(results: DetectionResults, threshold: float) -> Scores:
    """Score boxes of polyps."""
    return DetectionReport.of(results, threshold=threshold).metrics


def mean_box(results: DetectionResults, work: Path) -> DetectionResults:
    """Return one and the same box for every frame: the median box of the training part, relative to the picture."""
    known = []
    for video in boxed_stills(str(work / "polyps"), "train", ("polyp",)).videos:
        for frame in video.frames:
            known.append(frame.boxes / np.array([frame.width, frame.height] * 2))
    relative = np.median(np.concatenate(known), axis=0)

    def guess(frame: FrameResult) -> FrameResult:
        with Image.open(frame.path) as image:
            box = (relative * np.array([*image.size, *image.size])).astype(np.float32)[None]
        return replace(frame, boxes=box, scores=np.ones(1, np.float32), labels=np.zeros(1, np.int64))

    videos = [replace(video, frames=tuple(map(guess, video.frames))) for video in results.videos]
    return DetectionResults(results.labels, tuple(videos))


def organ_scores(model: EndoFMForVideoClassification, work: Path, part: str) -> Scores:
    """Score organs."""
    table = _organs(work, part)
    head = model.head_config
    predictions = run_classifier(
        model, table, Targets.of(table.classes, multi_label=False), head, model.config.preprocess
    )
    return ClassificationReport.of(predictions).metrics


def histogram_scores(work: Path, part: str) -> Scores:
    """Score the vote of the training pictures with the nearest colour histograms of 64 bins."""
    train, table = _organs(work, "train"), _organs(work, part)
    likeness = _histograms(table) @ _histograms(train).T
    nearest = train.label[np.argsort(-likeness, axis=1)[:, :_NEIGHBOURS]]
    votes = np.stack([(nearest == label).mean(axis=1) for label in range(len(LABELS))], axis=1)
    predictions = Predictions(
        probabilities=votes,
        targets=np.asarray(table.label),
        groups=[table.group(row) for row in range(len(table))],
        head=ClassificationHeadConfig(labels=LABELS),
    )
    return ClassificationReport.of(predictions).metrics


def _mask_report(scores: list[ClipScores]) -> Scores:
    return SegmentationReport.of(scores, ("background", "polyp")).metrics


def _clips(work: Path, part: str) -> list[MaskedClip]:
    return read_list(work / "polyps", part=part)


def _truth(clip: MaskedClip) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    _, height, width, _ = read_frames(clip, [0]).shape
    return read_masks(clip, [0], (height, width), rule="bright", num_classes=2)[0] > 0


def _small(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray(Image.fromarray(mask).resize(_SHAPE, Image.Resampling.NEAREST))


def _organs(work: Path, part: str) -> ClipTable:
    return still_table([read_stills(work / "organs.csv").part(part)], LABELS)


def _histograms(table: ClipTable) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    found = []
    for path in table.path:
        with Image.open(path) as image:
            bins = (np.asarray(image.convert("RGB")) >> 6).reshape(-1, 3) @ np.array([16, 4, 1])
        found.append(np.sqrt(np.bincount(bins, minlength=64) / len(bins)))
    return np.stack(found)
