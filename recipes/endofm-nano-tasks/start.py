"""Prepare the packaged encoder for pictures of another size: one frame, and a larger table of positions.

``python recipes/endofm-nano-tasks/start.py ENCODER OUT --side 160``
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm import EndoFM
from endofm.hub.model_folder import save_folder


def resized(positions: Tensor, side: int) -> Tensor:
    """Return position embeddings for a grid of ``side`` patches each way; the class token keeps its own."""
    token, grid = positions[:, :1], positions[:, 1:]
    old = round(grid.shape[1] ** 0.5)
    square = grid.transpose(1, 2).unflatten(2, (old, old))
    enlarged = F.interpolate(square, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([token, enlarged.flatten(2).transpose(1, 2)], dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, required=True, help="in pixels")
    args = parser.parse_args()
    model = EndoFM.from_pretrained(args.encoder)
    config = model.config
    tensors = dict(model.state_dict())
    tensors["pos_embed"] = resized(tensors["pos_embed"], args.side // model.encoder_config.patch_size)
    tensors["time_embed"] = tensors["time_embed"].mean(dim=1, keepdim=True)
    encoder = replace(model.encoder_config, img_size=args.side, num_frames=1, table_resize="bicubic")
    preprocess = replace(config.preprocess, num_frames=1, short_side=args.side, crop_size=args.side)
    save_folder(args.out, config=replace(config, encoder=encoder, preprocess=preprocess), state_dict=tensors)


if __name__ == "__main__":
    main()
