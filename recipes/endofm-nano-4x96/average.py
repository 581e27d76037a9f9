"""Average the weights of a run's checkpoints, which generalises better than its last step alone.

``python recipes/endofm-nano-4x96/average.py RUN --steps FIRST LAST -o OUT``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from endofm import EndoFM
from endofm.hub.model_folder import save_folder
from endofm.training.engine.run_checkpoints import CheckpointFolder, read_run_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, nargs=2, metavar=("FIRST", "LAST"), required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    first, last = args.steps
    checkpoints = CheckpointFolder(args.run / "checkpoints")
    chosen = [step for step in checkpoints.steps() if first <= step <= last]
    if not chosen:
        parser.error(f"{args.run} has no checkpoint of the steps {first} to {last}")
    networks = [read_run_checkpoint(checkpoints.path(step))["network"] for step in chosen]
    mean = {name: torch.stack([network[name] for network in networks]).mean(dim=0) for name in networks[0]}
    tensors = {name.removeprefix("backbone."): tensor for name, tensor in mean.items() if name.startswith("backbone.")}
    save_folder(args.out, config=EndoFM.from_pretrained(args.run / "export").config, state_dict=tensors)
    print(f"{args.out}: mean of {len(chosen)} checkpoints, steps {min(chosen)} to {max(chosen)}")


if __name__ == "__main__":
    main()
