"""Plot the training curves of the three stages of endofm-nano-4x96.

``python recipes/endofm-nano-4x96/curves.py WORK docs/images/nano-stages.png``
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

from endofm.files import atomic_path

PANELS = (
    ("first/logs/train.csv", "step", ("loss",), "1: self-supervision, loss"),
    ("second/logs/validation.csv", "step", ("dice_clip", "dice_frame"), "2: masks, Dice on held-out patients"),
    ("third/logs/validation.csv", "step", ("auroc", "balanced_accuracy"), "3: labels, held-out patients"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(11, 3), layout="constrained")
    for axis, (name, x, metrics, title) in zip(axes, PANELS, strict=True):
        with (args.work / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for metric in metrics:
            axis.plot([float(row[x]) for row in rows], [float(row[metric]) for row in rows], label=metric)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend()
    with atomic_path(args.out) as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
