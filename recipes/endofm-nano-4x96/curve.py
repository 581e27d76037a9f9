"""Write the checkpoints of a run as model folders, and plot their scores on real images.

``python recipes/endofm-nano-4x96/curve.py RUN CURVE [--scores results.json --plot docs/images/nano-curve.png]``

Without ``--scores`` the folders ``CURVE/step-<number>`` are written, for ``endofm bench``; with it, the plot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

from endofm.bench.report_files import read_scores
from endofm.config import ModelConfig
from endofm.files import atomic_path
from endofm.hub.model_folder import save_folder
from endofm.training.config_files import load_config
from endofm.training.engine.run_checkpoints import CheckpointFolder, read_run_checkpoint
from endofm.training.pretrain_config import PretrainConfig

CURVES = (("polyp-crop", "k-NN"), ("polyp-crop", "linear"), ("bleeding-folds", "k-NN"), ("bleeding-folds", "linear"))


def write_folders(run: Path, out: Path, every: int) -> None:
    # Of the run and not of its export, which a run that ran out of time does not have.
    settings = load_config(PretrainConfig, run / "config.yaml").model
    config = ModelConfig(encoder=settings.encoder, preprocess=settings.preprocess, name=settings.name)
    checkpoints = CheckpointFolder(run / "checkpoints")
    for step in checkpoints.steps()[::every]:
        network = read_run_checkpoint(checkpoints.path(step))["network"]
        tensors = {name.removeprefix("backbone."): tensor for name, tensor in network.items()}
        save_folder(out / f"step-{step:05}", config=config, state_dict=tensors)


def plot(scores: Path, batch_size: int, path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = read_scores(scores)
    steps = sorted((int(name.rpartition("-")[2]), probes) for name, probes in rows.items())
    figure, axis = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for probe, key in CURVES:
        views = [step * batch_size / 1000 for step, _ in steps]
        axis.plot(views, [probes[probe][key]["value"] for _, probes in steps], marker=".", label=f"{probe}, {key}")
    axis.set(xlabel="thousand views", ylabel="AUROC on real images")
    axis.grid(alpha=0.3)
    axis.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--every", type=int, default=3, help="of the checkpoints, counted from the last (default: 3)")
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    if args.scores is None:
        write_folders(args.run, args.out, args.every)
    else:
        plot(args.scores, 32, args.plot)


if __name__ == "__main__":
    main()
