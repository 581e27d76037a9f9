"""Texts of the cards of the packaged task models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scoring import BOXES, MASKS, ORGANS, REPORTED

KVASIR = """\
Kvasir-SEG (Jha et al., MMM 2020; the segmented part of HyperKvasir, Borgli et al., Scientific Data 2020; CC BY 4.0),
stills of polyps in colonoscopy, short side 256 pixels.

{used}\
"""

SPLIT = """\
599 stills with their masks were trained on; size and threshold were chosen on 99 more; 197 are scored. Images that look
like one of another part were left out. Patients are not known, so that a patient may be in several parts.\
"""

DATA = {
    MASKS: KVASIR.format(used=SPLIT),
    BOXES: KVASIR.format(used=SPLIT + " Boxes are those around every separate region of a mask."),
    ORGANS: """\
- Colon: Kvasir-SEG (Jha et al., MMM 2020; the segmented part of HyperKvasir, Borgli et al., Scientific Data 2020;
  CC BY 4.0). 599 stills trained, 197 scored.
- Larynx: laryngoscopy during surgery of one patient (Laves et al., IJCARS 2019; CC BY 4.0). 148 frames of two sequences
  trained, 230 of two others scored: the same patient.
- Abdomen: laparoscopic operations (egoodman92/laparoscopic-dataset; MIT). 114 stills of eight operations trained, 53 of
  three others scored.

The encoder saw all stills of larynx and abdomen before, the scored ones included, without labels.\
""",
}

RECIPE = """\
`bash recipes/endofm-nano-tasks/make.sh WORK` runs everything. The start is `endofm-nano-4x96` (the file
whose SHA-256 begins with `e37cb56a59b0`), all of whose parameters learnt further.

"""

PROCEDURES = {
    MASKS: """\
One run of `endofm finetune segmentation recipes/endofm-nano-tasks/masks.yaml`: single stills at 160 x 160 pixels, in
random views (crop, flip, turn, colours), the light head, cross-entropy and Dice. The last weights are kept. The size
of its pictures and the bias of the class were then chosen by Dice on the stills that were kept for it.\
""",
    BOXES: """\
One run of `endofm finetune detection recipes/endofm-nano-tasks/boxes.yaml` from the encoder that had learnt the masks
(`endofm-nano-polyp-masks`): single stills at 128 pixels, under a virtual camera that moves and zooms, no refinement by
other frames. The last weights are kept. The size of its pictures (by AP50) and the score from which boxes are reported
(by F1; `--min-score` changes it) were then chosen on the stills that were kept for it.\
""",
    ORGANS: """\
One run of `endofm finetune classification recipes/endofm-nano-tasks/organs.yaml`: clips of four frames at 96 pixels,
which a virtual camera cuts out of stills, classes weighted alike. The last weights are kept.\
""",
}

NOT_A_DEVICE = "- No diagnosis, no measurement, no medical advice: research software, tested on a few public stills."

ONE_COLLECTION = """\
- Stills of one collection in white light. Other scopes, narrow-band imaging, capsules and blurred frames were not
  tested.\
"""

IT_IS_NOT = {
    MASKS: f"""\
- A small network that learnt for minutes from 599 stills. A published model for polyps is far better.
- Every training image shows a polyp, so that it finds one nearly everywhere: **a mask is no sign of a polyp.**
{ONE_COLLECTION}
- Frames of a video are segmented one by one, and masks flicker.
{NOT_A_DEVICE}\
""",
    BOXES: f"""\
- A small network that learnt for minutes from 599 stills. A published model for polyps is far better.
- Every training image shows a polyp, so that the false alarms in frames without one are not known.
- It does not tell kinds of polyps apart.
{ONE_COLLECTION}
{NOT_A_DEVICE}\
""",
    ORGANS: f"""\
- It answers one of three, whatever it is shown: stomach, small bowel, a phantom or a wall as well.
- **A colour histogram does as well**: the three sources differ in scope, borders and colours, too. It tells these
  sources apart, and no more than that is shown.
- One patient is behind all larynx frames.
- Its probabilities are far too low: labels were smoothed and training was short. Only which is the largest was tested.
{NOT_A_DEVICE}\
""",
}

METRICS = {
    "dice_frame": "Dice, mean over stills",
    "iou_frame": "intersection over union, mean over stills",
    "missed_frames": "stills without any mask",
    "ap50": "average precision at an overlap of a half (AP50)",
    "iou_f1": "F1 at the threshold, overlap of a half",
    "iou_precision": "precision at the threshold",
    "iou_recall": "recall at the threshold",
    "accuracy": "accuracy",
    "balanced_accuracy": "mean recall over the organs",
}

CONTROLS = {
    MASKS: "one mean mask for all",
    BOXES: "one median box for all",
    ORGANS: "colour histogram, 5 nearest",
}

SCORED = {
    MASKS: "197 stills of Kvasir-SEG that no weight, setting or threshold depends on, at their own size.",
    BOXES: "197 stills of Kvasir-SEG that no weight, setting or threshold depends on, at their own size.",
    ORGANS: "480 stills of other images, sequences and operations than the training ones.",
}


def sections(name: str) -> dict[str, str]:
    """Return the sections of a card, without the evaluation."""
    return {
        "Training data": DATA[name],
        "Training procedure": RECIPE + PROCEDURES[name],
        "What it is not": IT_IS_NOT[name],
    }


def evaluation(name: str, scores: Mapping[str, Any]) -> str:
    """Return the table of a card, with 95 % intervals over stills."""
    lines = [f"| | this model | {CONTROLS[name]} |", "|---|---|---|"]
    for metric in REPORTED[name]:
        cells = [scores[row][metric] for row in ("model", "control")]
        shown = [f"{cell['value']:.3f} ({cell['low']:.3f} to {cell['high']:.3f})" for cell in cells]
        lines.append(f"| {METRICS[metric]} | {shown[0]} | {shown[1]} |")
    return f"{SCORED[name]} Values with 95 % intervals:\n\n" + "\n".join(lines)
