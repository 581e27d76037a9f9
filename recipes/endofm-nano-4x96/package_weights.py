"""Package the encoder of the last stage, in half precision, with a card that documents how it was made.

``python recipes/endofm-nano-4x96/package_weights.py WORK endofm/weights/endofm-nano-4x96 [--scores scores.json]``

``WORK`` is the folder of ``make.sh``. Without ``--scores`` the card has none: the packaged file is what is scored.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from endofm import EndoFM
from endofm.hub.model_folder import save_folder

STAGES = """\
Three stages on the CPU, each by a command of this package; `bash recipes/endofm-nano-4x96/make.sh WORK` runs them all.

1. Endo-FM's self-supervision (`endofm pretrain recipes/endofm-nano-4x96/pretrain.yaml`), without labels, on the
   rendered clips and the windows of real recordings. Alone, at this length, it does not learn whether a polyp is in
   view; see `recipes/README.md`.
2. Masks of polyps (`endofm finetune segmentation recipes/endofm-nano-4x96/masks.yaml`), on rendered clips: the renderer
   knows the mask of every frame. The mask head was discarded.
3. "Polyp in view" (`endofm finetune classification recipes/endofm-nano-4x96/labels.yaml`), on the rendered clips of the
   first stage. The classifier was discarded.

So the encoder is **not** purely self-supervised, and "polyp in view" in the tables is what it was taught, on other
patients.\
"""

IT_IS_NOT = """\
- Not Endo-FM: a small network that was trained in under an hour on a CPU, so that software can be tried with weights
  that are not random. For results take the published model or train on video of your own.
- No patient's video but a few seconds of laparoscopy and of a bowel phantom was seen; nearly all clips were rendered.
- No diagnosis and no measurement: it gives features, whose meaning has to be learnt and tested for each task.\
"""

DATA = """\
- 4,096 clips that `endofm data synth` rendered, of 64 synthetic patients (stages 1 and 3; half of them show a polyp).
- 2,160 rendered clips with masks, of 108 other synthetic patients (stage 2).
- 22 windows of 1.6 s of three recordings under the MIT licence (stage 1): laparoscopy (RViMLab/endoscopy,
  luiscarlosgph/videosum) and a robot in a bowel phantom (RViMLab/endoscopy).\
"""

SETS = {
    "labelled-large": "rendered clips with large, well lit polyps (difficulty 0)",
    "labelled-medium": "rendered clips of the usual difficulty (0.4)",
}


def evaluation(scores: dict[str, Any]) -> str:
    """Return the tables of the card."""
    parts = ["Beside the same network with random weights; mean and standard deviation over five splits by patient."]
    for name, words in SETS.items():
        rows = [
            f"| {metric} | {cells['trained']['mean']:.3f} ± {cells['trained']['sd']:.3f} "
            f"| {cells['untrained']['mean']:.3f} ± {cells['untrained']['sd']:.3f} |"
            for metric, cells in scores[name].items()
        ]
        table = "\n".join(["| | trained | untrained |", "|---|---:|---:|", *rows])
        parts.append(f"Polyp in view, {words}:\n\n{table}")
    if "recordings" in scores:
        trained, untrained = scores["recordings"]["trained"], scores["recordings"]["untrained"]
        parts.append(
            f"On {trained['windows']} windows of 1 s of six real recordings, the most similar window (those that touch "
            f"left out) comes from the same recording in {trained['same recording']:.0%} of cases; by chance it would "
            f"in {trained['chance']:.0%}, with random weights it does in {untrained['same recording']:.0%}. Three of "
            "the six were among the clips of the first stage."
        )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scores", type=Path)
    args = parser.parse_args()
    first, last = (EndoFM.from_pretrained(args.work / stage / "export") for stage in ("first", "third"))
    sections = {"Training data": DATA, "Training procedure": STAGES, "What it is not": IT_IS_NOT}
    if args.scores:
        sections["Evaluation"] = evaluation(json.loads(args.scores.read_text(encoding="utf-8")))
    half = {name: tensor.to(torch.float16) for name, tensor in last.state_dict().items()}
    # Name, licence and preprocessing are those of the first stage; mask models squeeze whole frames instead.
    save_folder(args.out, config=replace(first.config, encoder=last.config.encoder), state_dict=half, sections=sections)
    (args.out / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
