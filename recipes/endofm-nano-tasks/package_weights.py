"""Choose thresholds, score the task models beside controls, and package them in half precision with their cards.

``python recipes/endofm-nano-tasks/package_weights.py WORK endofm/weights --scores SCORES.json``

``WORK`` is the folder that ``make.sh`` fills. Sizes and thresholds are chosen on the part ``val`` of the lists, a
seventh of the published training part; the scores are of the part ``test``, which nothing else has used. Packaged files
are scored.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cards import PROCEDURES, evaluation, sections
from scoring import (
    BOXES,
    MASKS,
    ORGANS,
    Scores,
    best_threshold,
    box_scores,
    chosen,
    find_boxes,
    histogram_scores,
    mask_scores,
    mean_box,
    mean_mask_scores,
    organ_scores,
)

from endofm import EndoFMForDetection, EndoFMForSegmentation, EndoFMForVideoClassification
from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.files import write_text
from endofm.hub.model_folder import save_folder

SHIFTS = np.arange(-0.5, 1.25, 0.25)
"""Amounts that may be added to the logit of polyps."""

MASK_SIDES, BOX_SIDES = (160, 192), (128, 160, 192)
"""Sides in pixels at which the models may be run. Views in training show polyps larger than whole frames do."""


def at_side(model: Any, side: int) -> Any:
    """Return a model for pictures of another size; its table of positions is resized on the way.

    Pictures of users are larger than the training stills, hence the antialiasing.
    """
    preprocess = replace(model.config.preprocess, short_side=side, crop_size=side, antialias=True)
    resized = type(model)(replace(model.config, preprocess=preprocess))
    resized.load_state_dict(model.state_dict())
    return resized.eval()


def package(name: str, model: Any, out: Path, scores: Mapping[str, Any] | None = None) -> None:
    """Write a model folder in half precision; the card has an evaluation if there are scores."""
    texts = sections(name)
    if scores is not None:
        texts["Evaluation"] = evaluation(name, scores)
    half = {key: tensor.to(torch.float16) for key, tensor in model.state_dict().items()}
    save_folder(out / name, config=model.config, state_dict=half, sections=texts)
    (out / name / "model.safetensors").chmod(0o644)


def masks(work: Path, out: Path) -> tuple[Any, dict[str, Scores], dict[str, float]]:
    """Package masks, at the side and with the bias of their class at which Dice is largest on ``val``."""
    trained = EndoFMForSegmentation.from_pretrained(work / "runs/masks/export")
    model = max((at_side(trained, side) for side in MASK_SIDES), key=lambda model: val_dice(model, work))
    bias = model.head.classifier.bias
    plain, dice = bias.detach().clone(), []
    for shift in SHIFTS:
        with torch.no_grad():
            bias[1] = plain[1] + shift
        dice.append(val_dice(model, work))
    shift = float(SHIFTS[int(np.argmax(dice))])
    with torch.no_grad():
        bias[1] = plain[1] + shift
    package(MASKS, model, out)
    packed = EndoFMForSegmentation.from_pretrained(out / MASKS)
    scores = {"model": mask_scores(packed, work, "test"), "control": mean_mask_scores(work, "test")}
    return packed, scores, {"logit_shift": shift}


def val_dice(model: EndoFMForSegmentation, work: Path) -> float:
    """Return the mean Dice on ``val``."""
    return mask_scores(model, work, "val")["dice_frame"].value


def boxes(work: Path, out: Path) -> tuple[Any, dict[str, Scores], dict[str, float]]:
    """Package boxes, at the side with the best AP50 on ``val``, and from the score with the best F1 there."""
    trained = EndoFMForDetection.from_pretrained(work / "runs/boxes/export")
    found = [(model, find_boxes(model, work, "val")) for model in (at_side(trained, side) for side in BOX_SIDES)]
    model, results = max(found, key=lambda pair: DetectionMetrics(pair[1]).over()["ap50"])
    threshold = best_threshold(results)
    model.config = replace(model.config, head=replace(model.head_config, min_score=threshold))
    package(BOXES, model, out)
    packed = EndoFMForDetection.from_pretrained(out / BOXES)
    test = find_boxes(packed, work, "test")
    scores = {"model": box_scores(test, threshold), "control": box_scores(mean_box(test, work), 0.5)}
    return packed, scores, {"min_score": threshold}


def organs(work: Path, out: Path) -> tuple[Any, dict[str, Scores], dict[str, float]]:
    """Package organs; the most probable one is predicted."""
    package(ORGANS, EndoFMForVideoClassification.from_pretrained(work / "runs/organs/export"), out)
    packed = EndoFMForVideoClassification.from_pretrained(out / ORGANS)
    return packed, {"model": organ_scores(packed, work, "test"), "control": histogram_scores(work, "test")}, {}


def plain(name: str, scores: Scores) -> dict[str, Any]:
    """Return the metrics of a card as plain values."""
    return {metric: interval.to_dict() for metric, interval in chosen(name, scores).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scores", type=Path, required=True, help="file to write")
    parser.add_argument("--only", choices=PROCEDURES, help="package one of them and keep the other scores")
    args = parser.parse_args()
    kept = json.loads(args.scores.read_text(encoding="utf-8")) if args.scores.is_file() else {}
    for name, make in ((MASKS, masks), (BOXES, boxes), (ORGANS, organs)):
        if args.only not in (None, name):
            continue
        model, scores, chosen_on_val = make(args.work, args.out)
        kept[name] = {
            "chosen_on_val": {"side": model.config.preprocess.crop_size, **chosen_on_val},
            **{
                row: {key: value.to_dict() for key, value in chosen(name, found).items()}
                for row, found in scores.items()
            },
        }
        package(name, model, args.out, kept[name])
        print(name, json.dumps(kept[name], indent=1))
        write_text(args.scores, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
