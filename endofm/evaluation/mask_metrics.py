"""Segmentation metrics of masks: Dice, intersection over union, boundary distance, missed and false frames.

Dice is computed by torchmetrics (``functional.segmentation.dice_score``); two empty masks, for which it is undefined,
count 1 here: nothing to find, nothing predicted. Intersection over union follows from it as ``dice / (2 - dice)``. The
95th percentile of the boundary distances (HD95) is computed here, because definitions differ: torchmetrics has the
maximum only, and MONAI takes the larger of the two directed percentiles, while the published numbers pool the distances
of both directions first (``medpy.metric.binary.hd95``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, require_extra

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipScores:
    """Scores of the masks of one clip, averaged over the classes other than the background.

    Attributes:
        id: Name of the clip.
        group: Patient or video.
        frame_dice: Dice of every frame, float64 ``(frames,)``; 1 where both masks are empty.
        frame_iou: Intersection over union of every frame, float64 ``(frames,)``; 1 where both masks are empty.
        frame_hd95: 95th percentile of the boundary distances in pixels, ``(frames,)``; 0 where both masks are empty,
            NaN where one is.
        clip_dice: Dice of all frames together; 1 where both masks are empty throughout.
        clip_iou: Intersection over union of all frames together; 1 where both masks are empty throughout.
        published_dice: Dice of the clip by the published rule; see :func:`published_scores`.
        published_hd95: HD95 of the clip by the published rule.
        has_object: Frames with an object, bool ``(frames,)``.
        detected: Frames in which something was predicted, bool ``(frames,)``.
    """

    id: str
    group: str
    frame_dice: Float64Array
    frame_iou: Float64Array
    frame_hd95: Float64Array
    clip_dice: float
    clip_iou: float
    published_dice: float
    published_hd95: float
    has_object: BoolArray
    detected: BoolArray


def score_clip(
    predicted: UInt8Array, truth: UInt8Array, *, num_classes: int, id: str = "", group: str = ""
) -> ClipScores:
    """Score the masks of a clip.

    Args:
        predicted: Class of every pixel, uint8 ``(frames, height, width)``.
        truth: True classes, uint8 ``(frames, height, width)``.
        num_classes: Number of classes, background included.
        id: Name of the clip.
        group: Patient or video.

    Raises:
        InputError: If the shapes differ.
        MissingExtraError: If torchmetrics or scipy is not installed.
    """
    if predicted.shape != truth.shape or predicted.ndim != 3 or not len(predicted):
        raise InputError(
            f"masks must be (frames, height, width) and of one shape, got {predicted.shape}, {truth.shape}"
        )
    frame = _dice(predicted, truth, num_classes)  # (frames, classes - 1)
    # Stacked on top of each other, the frames of a clip are one tall image: Dice pools their pixels.
    clip = _dice(predicted.reshape(1, -1, predicted.shape[-1]), truth.reshape(1, -1, truth.shape[-1]), num_classes)
    classes = range(1, num_classes)
    distances = np.array([[hd95(p == k, t == k) for k in classes] for p, t in zip(predicted, truth, strict=True)])
    published = [published_scores(predicted == k, truth == k) for k in classes]
    return ClipScores(
        id=id,
        group=group,
        frame_dice=frame.mean(1),
        frame_iou=(frame / (2 - frame)).mean(1),
        frame_hd95=_mean_of_defined(distances),
        clip_dice=float(clip.mean()),
        clip_iou=float((clip / (2 - clip)).mean()),
        published_dice=float(np.mean([dice for dice, _ in published])),
        published_hd95=float(np.mean([distance for _, distance in published])),
        has_object=np.asarray(truth.any((1, 2))),
        detected=np.asarray(predicted.any((1, 2))),
    )


def mask_metrics(scores: Sequence[ClipScores]) -> dict[str, float]:
    """Return the metrics of several clips; a clip may occur several times, as in a bootstrap resample.

    ``dice_frame``, ``iou_frame`` and ``hd95_frame`` are means over all frames (of HD95, over those where it is
    defined), ``dice_clip`` and ``iou_clip`` means over clips. ``missed_frames`` is the fraction of the frames with an
    object in which nothing was predicted, ``false_alarm_frames`` the fraction of the others in which something was.
    ``published_dice`` and ``published_hd95`` follow the published rule, its empty cases included.
    """
    frames = {
        name: np.concatenate([getattr(score, name) for score in scores])
        for name in ("frame_dice", "frame_iou", "frame_hd95", "has_object", "detected")
    }
    present, detected = frames["has_object"], frames["detected"]
    defined = frames["frame_hd95"][~np.isnan(frames["frame_hd95"])]
    return {
        "dice_clip": float(np.mean([score.clip_dice for score in scores])),
        "iou_clip": float(np.mean([score.clip_iou for score in scores])),
        "dice_frame": float(frames["frame_dice"].mean()),
        "iou_frame": float(frames["frame_iou"].mean()),
        "hd95_frame": float(defined.mean()) if len(defined) else float("nan"),
        "missed_frames": float((~detected)[present].mean()) if present.any() else float("nan"),
        "false_alarm_frames": float(detected[~present].mean()) if not present.all() else float("nan"),
        "published_dice": float(np.mean([score.published_dice for score in scores])),
        "published_hd95": float(np.mean([score.published_hd95 for score in scores])),
    }


def hd95(predicted: BoolArray, truth: BoolArray) -> float:
    """Return the 95th percentile of the distances between two boundaries, both directions pooled, in pixels.

    The boundary of a mask consists of the pixels that one erosion with the cross-shaped neighbourhood removes; beyond
    the array everything counts as background. The percentile, unlike the maximum (the Hausdorff distance), is not
    decided by a single stray pixel.

    Args:
        predicted: Mask, bool, with any number of axes of spacing 1.
        truth: True mask of the same shape.

    Returns:
        0 if both are empty, NaN if one is.
    """
    if not predicted.any() or not truth.any():
        return 0.0 if predicted.any() == truth.any() else float("nan")
    ndimage = require_extra("scipy.ndimage", "train", "The distance between boundaries")
    # Distances are only needed at boundary pixels, so the array is cropped to the box that holds both masks. A margin
    # of one pixel keeps the erosion from seeing the edge of the crop as the edge of the array.
    part = _bounds(predicted | truth)
    boundaries = [mask & ~ndimage.binary_erosion(mask) for mask in (np.pad(m[part], 1) for m in (predicted, truth))]
    # The distance transform gives every pixel its distance to the nearest zero, here to the other mask's boundary.
    pooled = [ndimage.distance_transform_edt(~b)[a] for a, b in (boundaries, boundaries[::-1])]
    return float(np.percentile(np.concatenate(pooled), 95))


def published_scores(predicted: BoolArray, truth: BoolArray) -> tuple[float, float]:
    """Return Dice and HD95 of a clip by the published rule (``TransUNet/trainer.py``, commit 206427e).

    Both are of the volume, with time as a third axis of spacing 1. Its empty cases are kept: a prediction where there
    is no object scores Dice 1 and HD95 0; no prediction scores 0 and 0, whether there is an object or not.

    Args:
        predicted: bool ``(frames, height, width)``; or of one frame as a plane, ``(height, width)``.
        truth: True mask of the same shape.
    """
    if predicted.any() and truth.any():
        dice = 2 * np.count_nonzero(predicted & truth) / (np.count_nonzero(predicted) + np.count_nonzero(truth))
        return float(dice), hd95(predicted, truth)
    return (1.0, 0.0) if predicted.any() else (0.0, 0.0)


def clip_rows(scores: Sequence[ClipScores]) -> list[dict[str, Any]]:
    """Return one row of metrics per clip."""
    return [
        {"id": score.id, "group": score.group, "frames": len(score.frame_dice), **mask_metrics([score])}
        for score in scores
    ]


def _dice(predicted: UInt8Array, truth: UInt8Array, num_classes: int) -> Float64Array:
    """Return Dice of every item and class other than the background, float64 ``(items, classes - 1)``."""
    functional = require_extra("torchmetrics.functional.segmentation", "train", "Dice")
    import torch

    one_hot = [
        torch.stack([torch.from_numpy(np.ascontiguousarray(masks == k)) for k in range(1, num_classes)], dim=1)
        for masks in (predicted, truth)
    ]
    values = functional.dice_score(*one_hot, num_classes=num_classes - 1, average="none", input_format="one-hot")
    # NaN stands for two empty masks.
    return np.asarray(torch.nan_to_num(values.double(), nan=1.0).numpy())


def _bounds(mask: BoolArray) -> tuple[slice, ...]:
    """Return the slices of the smallest box that holds all true elements."""
    bounds = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        bounds.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(bounds)


def _mean_of_defined(values: Float64Array) -> Float64Array:
    """Return means along the last axis over the values that are not NaN; NaN where all are."""
    # np.nanmean would warn about rows without a value.
    defined = ~np.isnan(values)
    count = defined.sum(1)
    sums = np.where(defined, values, 0).sum(1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
