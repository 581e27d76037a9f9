"""Package an encoder in half precision, with a card that documents how it was made.

``python recipes/endofm-nano-4x96/package_weights.py RUN/export endofm/weights/endofm-nano-4x96 [--scores FILE ...]``

Without ``--scores`` the card has none: the packaged file is what is scored.
"""

from __future__ import annotations

import argparse
from collections import ChainMap
from pathlib import Path
from typing import Any

import torch

from endofm import EndoFM
from endofm.bench.report_files import read_scores
from endofm.hub.model_folder import save_folder

PROCEDURE = """\
Two runs of `endofm pretrain recipes/endofm-nano-4x96/distill.yaml`; `bash recipes/endofm-nano-4x96/make.sh WORK` runs
everything. The encoder learnt to predict two maps of each picture: the features of a frozen EfficientNet-Lite0
(Apache-2.0), and the colours of each cell. Its clips of one, two and four frames were cut out of stills by a virtual
camera.

1. 19,200 steps of 32 frames, 614,000 views of 1,311 pictures, half an hour of one core, after five minutes in which
   the teacher saw every picture at three sizes. The weights of the steps 7,680 to 11,520 are averaged: later ones fit
   these pictures better and capsule frames worse (`recipes/README.md`).
2. 2,400 steps with colours changed by at most a tenth instead of three, from there; the mean of the steps 960 to 2,400.

Which steps to average, and the change of colours, were chosen by the scores below.

**The teacher was trained with the labels of ImageNet**, so that these features are not purely self-supervised. No label
and no mask of an endoscopic image was used. Endo-FM's own objective was not continued from here.\
"""

IT_IS_NOT = """\
- Not Endo-FM: a small network that was trained for minutes, so that software can be tried with weights that have learnt
  something. For results take a published model, or train on video of your own.
- Hardly any video: nearly all clips are stills under a virtual camera, without parallax, deformation or blur. What
  moves and how was not learnt.
- Few places: one collection of polyps, one larynx, twelve operations. No capsule endoscopy was seen in training.
- No diagnosis and no measurement: it gives features, whose meaning has to be learnt and tested for each task.\
"""

DATA = """\
Without labels:

- 698 colonoscopy stills, the training part of Kvasir-SEG (Jha et al., MMM 2020; the segmented part of HyperKvasir,
  Borgli et al., Scientific Data 2020; CC BY 4.0), without those that look like an image of another part.
- 378 frames of laryngoscopy during surgery of one patient (Laves et al., IJCARS 2019; CC BY 4.0).
- 183 stills of twelve laparoscopic operations (egoodman92/laparoscopic-dataset; MIT).
- 52 frames of three recordings under the MIT licence: laparoscopy (RViMLab/endoscopy, luiscarlosgph/videosum) and a
  robot in a bowel phantom (RViMLab/endoscopy).\
"""

ROWS = {
    "endofm-nano-4x96": "this encoder",
    "untrained:endofm-nano-4x96": "the same network, untrained",
    "previous": "the encoder that it replaces",
    "histogram": "colour histogram",
    "thumbnail": "thumbnail, 8 x 8 pixels",
    "efficientnet-lite0": "EfficientNet-Lite0 (ImageNet), frozen, 192 pixels",
}

COLUMNS = {
    ("polyp-crop", "k-NN"): ("polyp crop, k-NN", 0.85),
    ("polyp-crop", "linear"): ("polyp crop, linear", 0.90),
    ("bleeding", "k-NN"): ("bleeding, k-NN", 0.94),
    ("bleeding", "linear"): ("bleeding, linear", 0.96),
    ("bleeding-folds", "k-NN"): ("bleeding, folds, k-NN", None),
    ("bleeding-folds", "linear"): ("bleeding, folds, linear", None),
    ("polyp-patch", "linear"): ("polyp patch, linear", None),
    ("surgery", "nearest"): ("same surgery", None),
    ("tissue-patch", "linear"): ("tissue patch, linear", None),
}
"""Title of each score, and the value that the encoder was meant to reach."""

READING = """\
AUROC of frozen features on real images (`docs/bench.md`). No scored image of polyps and bleeding was among the
training pictures; the stills of operations ("same surgery" is how often the nearest still is of the same one) and of
the larynx were, without labels. The part of the capsule frames behind "bleeding" has few groups of very different size;
the folds are the better comparison.\
"""


def evaluation(scores: dict[str, Any]) -> str:
    """Return the table of the card, and what it falls short of."""
    rows = {name: scores[name] for name in ROWS if name in scores}
    lines = ["| | " + " | ".join(title for title, _ in COLUMNS.values()) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for name, row in rows.items():
        cells = (row.get(probe, {}).get(key, {}).get("value") for probe, key in COLUMNS)
        lines.append(f"| {ROWS[name]} | " + " | ".join("" if c is None else f"{c:.3f}" for c in cells) + " |")
    return "\n\n".join([READING, "\n".join(lines), shortfalls(rows)])


def shortfalls(rows: dict[str, Any]) -> str:
    """Return which aims are not reached, and where a control is not beaten."""
    own, found = rows["endofm-nano-4x96"], []
    controls = [name for name in rows if name not in ("endofm-nano-4x96", "efficientnet-lite0")]
    for (probe, key), (title, aim) in COLUMNS.items():
        value = own[probe][key]["value"]
        if aim is not None and value < aim:
            found.append(f"{title} is {value:.3f}, below the aim of {aim:.2f}")
        for name in controls:
            other = rows[name].get(probe, {}).get(key, {}).get("value")
            if other is not None and value <= other:
                found.append(f"{title} is {value:.3f}, not above {ROWS[name]} ({other:.3f})")
    if not found:
        return "It reaches every aim that was set for it, and is above every control that knows nothing of images."
    return "**What it does not reach:** " + "; ".join(found) + "."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scores", type=Path, nargs="+", help="results of `endofm bench`; later ones add encoders")
    args = parser.parse_args()
    model = EndoFM.from_pretrained(args.export)
    sections = {"Training data": DATA, "Training procedure": PROCEDURE, "What it is not": IT_IS_NOT}
    if args.scores:
        sections["Evaluation"] = evaluation(dict(ChainMap(*map(read_scores, args.scores))))
    half = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    save_folder(args.out, config=model.config, state_dict=half, sections=sections)
    (args.out / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
