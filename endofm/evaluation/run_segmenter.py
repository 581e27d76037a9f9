"""Scores of a segmentation model, or of masks that were saved, on clips with masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch

from endofm.data.segmentation import MaskRule
from endofm.data.segmentation.mask_reading import constant_frames, read_frames, read_masks
from endofm.data.segmentation.masked_clips import MaskedClip
from endofm.errors import InputError, reason
from endofm.evaluation.mask_metrics import ClipScores, score_clip
from endofm.evaluation.worst_frames import WorstFrames
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from endofm.tasks.segmentation.stream import clip_probabilities
from endofm.transforms.masks import covered_box, maps_to_source
from endofm.transforms.processor import Processor
from endofm.video.frames import UInt8Array

ScoredSize = Literal["frame", "network"]
"""Size at which masks are compared: that of the frames, where users need masks, or of the network's input."""


def run_segmenter(
    model: EndoFMForSegmentation,
    clips: Sequence[MaskedClip],
    *,
    mask_rule: MaskRule,
    size: ScoredSize = "frame",
    num_frames: int | None = 8,
    overlap: int = 2,
    worst: WorstFrames | None = None,
    notes: list[str] | None = None,
) -> list[ClipScores]:
    """Segment all frames of every clip and return the scores of every clip.

    Args:
        model: The model in evaluation mode; it is used on its device.
        clips: The clips.
        mask_rule: Meaning of the values of masks.
        size: Size at which masks are compared.
        num_frames: Frames that the model sees together; None for the whole clip at once, as published.
        overlap: Frames that neighbouring windows share.
        worst: Is offered every frame, to keep the worst ones.
        notes: Extended by a sentence for every clip that cannot be read and for frames that hold a single colour.

    Raises:
        InputError: If none of the clips can be read.
    """

    def predict(clip: MaskedClip, frames: UInt8Array, truth: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
        return segment_clip(model, frames, truth, size=size, num_frames=num_frames, overlap=overlap)

    shrink = partial(_at_network_size, processor=model.processor) if size == "network" else None
    return score_clips(clips, predict, len(model.labels), mask_rule=mask_rule, shrink=shrink, worst=worst, notes=notes)


def score_clips(
    clips: Sequence[MaskedClip],
    predict: Callable[[MaskedClip, UInt8Array, UInt8Array], tuple[UInt8Array, UInt8Array]],
    num_classes: int,
    *,
    mask_rule: MaskRule,
    shrink: Callable[[UInt8Array], UInt8Array] | None = None,
    worst: WorstFrames | None = None,
    notes: list[str] | None = None,
) -> list[ClipScores]:
    """Return the scores of every clip.

    Args:
        clips: The clips.
        predict: Maps a clip, its frames ``(frames, height, width, 3)`` and its masks ``(frames, height, width)``,
            uint8, to predicted and true masks of one size. An InputError leaves the clip out.
        num_classes: Number of classes, background included.
        mask_rule: Meaning of the values of masks.
        shrink: Maps frames to the size of the compared masks, for pictures; None where it is theirs.
        worst: Is offered every frame, to keep the worst ones.
        notes: Extended by a sentence for every clip that is left out and for frames that hold a single colour.

    Raises:
        InputError: If none of the clips can be scored.
    """
    scores: list[ClipScores] = []
    notes = notes if notes is not None else []
    for clip in clips:
        try:
            indices = range(clip.count)
            frames = read_frames(clip, indices)
            frame_size = (frames.shape[1], frames.shape[2])
            truth = read_masks(clip, indices, frame_size, rule=mask_rule, num_classes=num_classes)
        except Exception as error:
            notes.append(f"{clip.id} was left out: {reason(error)}")
            continue
        constant = constant_frames(frames)
        if constant:
            notes.append(f"{clip.id}: {len(constant)} frames are one single colour, the first is frame {constant[0]}.")
        try:
            predicted, compared = predict(clip, frames, truth)
        except InputError as error:
            notes.append(f"{clip.id} was left out: {error}")
            continue
        score = score_clip(predicted, compared, num_classes=num_classes, id=clip.id, group=clip.group)
        scores.append(score)
        if worst is not None:
            pictures = frames if shrink is None else shrink(frames)
            for index, dice in enumerate(score.frame_dice):
                caption = f"{clip.id}, frame {index}"
                worst.add(float(dice), caption, pictures[index], compared[index], predicted[index])
    if not scores:
        raise InputError(f"none of the {len(clips)} clips can be scored; {notes[0] if notes else 'there are none'}")
    return scores


def segment_clip(
    model: EndoFMForSegmentation,
    frames: UInt8Array,
    truth: UInt8Array,
    *,
    size: ScoredSize,
    num_frames: int | None,
    overlap: int,
) -> tuple[UInt8Array, UInt8Array]:
    """Return predicted and true masks, both uint8 ``(frames, height, width)`` at the size of the comparison."""
    geometry = model.processor.geometry(frames.shape[1], frames.shape[2])
    with torch.inference_mode():
        pixels = model.processor(frames).to(model.device)
        maps = clip_probabilities(model, pixels, num_frames=num_frames, overlap=overlap)
        if size == "network":
            labels = maps.argmax(0).to(torch.uint8).cpu().numpy()
            return labels, np.asarray(geometry.mask_to_clip(truth), np.uint8)
        # Pixels that the crop leaves out keep the background: nothing is predicted where the model sees nothing.
        box = covered_box(geometry)
        predicted = np.zeros(truth.shape, np.uint8)
        # Probabilities are enlarged frame by frame, since those of a whole clip at the frames' size may not fit.
        for index in range(maps.shape[1]):
            best = maps_to_source(maps[:, index], geometry).argmax(0).to(torch.uint8)
            predicted[index, box.top : box.bottom, box.left : box.right] = best.cpu().numpy()
    return predicted, truth


def _at_network_size(frames: UInt8Array, processor: Processor) -> UInt8Array:
    """Return frames at the size of the network's input, for pictures."""
    geometry = processor.geometry(frames.shape[1], frames.shape[2])
    channels = np.moveaxis(frames, -1, 1)
    return np.ascontiguousarray(np.moveaxis(np.asarray(geometry.mask_to_clip(channels), np.uint8), 1, -1))
