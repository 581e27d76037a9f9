"""Metrics of masks.

Dice is computed by torchmetrics (``functional.segmentation.dice_score``), with its "not defined" for two empty masks
made 1 here: nothing to find, nothing found. IoU follows from it, ``dice / (2 - dice)``. The 95th percentile of the
distances between borders (HD95) is computed here, because definitions differ: torchmetrics knows the maximum alone, and
MONAI takes the larger of two percentiles, while the published numbers pool the distances of both directions first
(``medpy.metric.binary.hd95``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """How the masks of one clip agree with the truth; classes other than the background are averaged.

    Attributes:
        id: Name of the clip.
        group: Patient or video.
        frame_dice: Dice of every frame, float64 ``(frames,)``; 1 where both masks are empty.
        frame_iou: Intersection over union, likewise.
        frame_hd95: 95th percentile of the distances between the borders in pixels, ``(frames,)``; 0 where both masks
            are empty, not a number where one is.
        clip_dice: Dice of all frames together; 1 where there is nothing to find and nothing was found.
        clip_iou: Likewise.
        published_dice: Dice of the clip as the original counts it; see :func:`published_scores`.
        published_hd95: HD95 of the clip as the original counts it.
        has_object: Frames with something to find, bool ``(frames,)``.
        found: Frames where something was found, bool ``(frames,)``.
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
    found: BoolArray


def score_clip(
    predicted: UInt8Array, truth: UInt8Array, *, num_classes: int, id: str = "", group: str = ""
) -> ClipScores:
    """Compare the masks of a clip with the truth.

    Args:
        predicted: Class of every pixel, uint8 ``(frames, height, width)``.
        truth: Likewise.
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
    frame = _dice(predicted, truth, num_classes)  # T K-1
    whole = _dice(predicted.reshape(1, -1, predicted.shape[-1]), truth.reshape(1, -1, truth.shape[-1]), num_classes)
    classes = range(1, num_classes)
    distances = np.array([[hd95(p == k, t == k) for k in classes] for p, t in zip(predicted, truth, strict=True)])
    published = [published_scores(predicted == k, truth == k) for k in classes]
    return ClipScores(
        id=id,
        group=group,
        frame_dice=frame.mean(1),
        frame_iou=(frame / (2 - frame)).mean(1),
        frame_hd95=_mean_of_defined(distances),
        clip_dice=float(whole.mean()),
        clip_iou=float((whole / (2 - whole)).mean()),
        published_dice=float(np.mean([dice for dice, _ in published])),
        published_hd95=float(np.mean([distance for _, distance in published])),
        has_object=np.asarray(truth.any((1, 2))),
        found=np.asarray(predicted.any((1, 2))),
    )


def mask_metrics(scores: Sequence[ClipScores]) -> dict[str, float]:
    """Return the metrics of several clips; the place of a clip may be in them several times (bootstrap).

    ``dice_frame``, ``iou_frame`` and ``hd95_frame`` are means over all frames (of HD95, over those where it is
    defined), ``dice_clip`` and ``iou_clip`` means over clips. ``missed_frames`` is the share of the frames with
    something to find where nothing was found, ``false_alarm_frames`` the share of the others where something was.
    ``published_dice`` and ``published_hd95`` are what the original reports, its empty cases included.
    """
    frames = {
        name: np.concatenate([getattr(score, name) for score in scores])
        for name in ("frame_dice", "frame_iou", "frame_hd95", "has_object", "found")
    }
    there, found = frames["has_object"], frames["found"]
    defined = frames["frame_hd95"][~np.isnan(frames["frame_hd95"])]
    return {
        "dice_clip": float(np.mean([score.clip_dice for score in scores])),
        "iou_clip": float(np.mean([score.clip_iou for score in scores])),
        "dice_frame": float(frames["frame_dice"].mean()),
        "iou_frame": float(frames["frame_iou"].mean()),
        "hd95_frame": float(defined.mean()) if len(defined) else float("nan"),
        "missed_frames": float((~found)[there].mean()) if there.any() else float("nan"),
        "false_alarm_frames": float(found[~there].mean()) if not there.all() else float("nan"),
        "published_dice": float(np.mean([score.published_dice for score in scores])),
        "published_hd95": float(np.mean([score.published_hd95 for score in scores])),
    }


def hd95(predicted: BoolArray, truth: BoolArray) -> float:
    """Return the 95th percentile of the distances between two borders, both directions pooled, in pixels.

    The border is what one erosion with the cross-shaped neighbourhood takes away; what lies beyond the array counts as
    background.

    Args:
        predicted: bool, of any number of axes, spacing 1 on each.
        truth: Likewise.

    Returns:
        0 if both are empty, not a number if one is.
    """
    if not predicted.any() or not truth.any():
        return 0.0 if predicted.any() == truth.any() else float("nan")
    ndimage = require_extra("scipy.ndimage", "train", "The distance between borders")
    # Only the part that holds something matters, and is often small.
    part = _bounds(predicted | truth)
    borders = [mask & ~ndimage.binary_erosion(mask) for mask in (np.pad(m[part], 1) for m in (predicted, truth))]
    pooled = [ndimage.distance_transform_edt(~b)[a] for a, b in (borders, borders[::-1])]
    return float(np.percentile(np.concatenate(pooled), 95))


def published_scores(predicted: BoolArray, truth: BoolArray) -> tuple[float, float]:
    """Return Dice and HD95 of a clip as the original counts them (``TransUNet/trainer.py``, commit 206427e).

    Both are of the volume, time as a third axis of spacing 1. Its empty cases are kept: something found where nothing
    is to be found scores Dice 1 and HD95 0; nothing found scores 0 and 0, whether there is something to find or not.

    Args:
        predicted: bool ``(frames, height, width)``; or of one frame as a plane, ``(height, width)``.
        truth: Likewise.
    """
    if predicted.any() and truth.any():
        dice = 2 * np.count_nonzero(predicted & truth) / (np.count_nonzero(predicted) + np.count_nonzero(truth))
        return float(dice), hd95(predicted, truth)
    return (1.0, 0.0) if predicted.any() else (0.0, 0.0)


def scores_table(scores: Sequence[ClipScores]) -> list[dict[str, Any]]:
    """Return one row of numbers per clip."""
    rows = []
    for score in scores:
        values: Mapping[str, float] = mask_metrics([score])
        rows.append({"id": score.id, "group": score.group, "frames": len(score.frame_dice), **values})
    return rows


def _dice(predicted: UInt8Array, truth: UInt8Array, num_classes: int) -> Float64Array:
    """Return Dice of every item and class but the background, float64 ``(items, classes - 1)``."""
    functional = require_extra("torchmetrics.functional.segmentation", "train", "Dice")
    import torch

    one_hot = [
        torch.stack([torch.from_numpy(np.ascontiguousarray(masks == k)) for k in range(1, num_classes)], dim=1)
        for masks in (predicted, truth)
    ]
    values = functional.dice_score(*one_hot, num_classes=num_classes - 1, average="none", input_format="one-hot")
    return np.asarray(torch.nan_to_num(values.double(), nan=1.0).numpy())


def _bounds(mask: BoolArray) -> tuple[slice, ...]:
    found = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        found.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(found)


def _mean_of_defined(values: Float64Array) -> Float64Array:
    """Return means along the last axis without what is not a number; not a number where all of it is."""
    defined = ~np.isnan(values)
    count = defined.sum(1)
    sums = np.where(defined, values, 0).sum(1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
