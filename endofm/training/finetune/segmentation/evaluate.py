"""Scoring a mask model on clips with masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from endofm.errors import InputError, VideoError
from endofm.evaluation.mask_sheet import WorstFrames
from endofm.evaluation.masks import ClipScores, score_clip
from endofm.tasks.segmentation.frame_windows import clip_probabilities
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from endofm.training.finetune.segmentation.clips import MaskedClip
from endofm.training.finetune.segmentation.config import EvaluationConfig
from endofm.training.finetune.segmentation.reading import MaskRule, constant_frames, read_frames, read_masks
from endofm.transforms.masks import covered_box, maps_to_source
from endofm.transforms.processor import Processor
from endofm.video.frames import UInt8Array


def evaluate(
    model: EndoFMForSegmentation,
    clips: Sequence[MaskedClip],
    config: EvaluationConfig,
    *,
    rule: MaskRule,
    worst: WorstFrames | None = None,
    notes: list[str] | None = None,
) -> list[ClipScores]:
    """Return the scores of every clip; all of its frames are looked at.

    Args:
        model: The model, in evaluation mode; its device is used.
        clips: The clips.
        config: At which size, in what windows.
        rule: What values of masks mean.
        worst: Gets every frame, to keep the worst ones.
        notes: Gets sentences about clips that could not be read and frames without a picture.

    Raises:
        InputError: If none of the clips can be read.
    """
    scores: list[ClipScores] = []
    told = notes if notes is not None else []
    for clip in clips:
        try:
            indices = range(clip.count)
            frames = read_frames(clip, indices)
            size = (frames.shape[1], frames.shape[2])
            truth = read_masks(clip, indices, size, rule=rule, num_classes=len(model.labels))
        except VideoError as error:
            told.append(f"{clip.id} was left out: {error}")
            continue
        constant = constant_frames(frames)
        if constant:
            told.append(f"{clip.id}: {len(constant)} frames are one single colour, the first is frame {constant[0]}.")
        predicted, compared = predict_clip(model, frames, truth, config)
        score = score_clip(predicted, compared, num_classes=len(model.labels), id=clip.id, group=clip.group)
        scores.append(score)
        if worst is not None:
            pictures = frames if config.at == "frame" else _as_seen(frames, model.processor)
            for place, dice in enumerate(score.frame_dice):
                caption = f"{clip.id}, frame {place}"
                worst.add(float(dice), caption, pictures[place], compared[place], predicted[place])
    if not scores:
        raise InputError(f"none of the {len(clips)} clips can be read; {told[0] if told else 'there are none'}")
    return scores


def predict_clip(
    model: EndoFMForSegmentation, frames: UInt8Array, truth: UInt8Array, config: EvaluationConfig
) -> tuple[UInt8Array, UInt8Array]:
    """Return predicted and true masks, both uint8 ``(frames, height, width)`` at the size of the evaluation."""
    geometry = model.processor.geometry(frames.shape[1], frames.shape[2])
    with torch.inference_mode():
        pixels = model.processor(frames).to(model.device)
        maps = clip_probabilities(model, pixels, num_frames=config.num_frames, overlap=config.overlap)
        if config.at == "network":
            labels = maps.argmax(0).to(torch.uint8).cpu().numpy()
            return labels, np.asarray(geometry.mask_to_clip(truth), np.uint8)
        box = covered_box(geometry)
        predicted = np.zeros(truth.shape, np.uint8)
        for place in range(maps.shape[1]):
            best = maps_to_source(maps[:, place], geometry).argmax(0).to(torch.uint8)
            predicted[place, box.top : box.bottom, box.left : box.right] = best.cpu().numpy()
    return predicted, truth


def _as_seen(frames: UInt8Array, processor: Processor) -> UInt8Array:
    """Return frames at the size that the network sees, for pictures."""
    geometry = processor.geometry(frames.shape[1], frames.shape[2])
    channels = np.moveaxis(frames, -1, 1)
    return np.ascontiguousarray(np.moveaxis(np.asarray(geometry.mask_to_clip(channels), np.uint8), 1, -1))
