"""Row on training: forward and backward through the encoder, which is nearly all of a pre-training step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.reference import Reference
from benchmarks.table import Row
from benchmarks.timing import compare
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.run_precision import run_precision
from endofm.training.run_config import RunConfig


def training_row(model: VideoTransformer, *, rounds: int) -> Row:
    """Measure our block against the plain float32 block, both with gradients, at one thread.

    Ours is computed in the precision that ``run.precision=auto`` takes on this processor.
    """
    precision = run_precision(RunConfig(precision="auto"), "cpu", None)
    config = model.encoder_config
    network = copy.deepcopy(model).requires_grad_().train()
    for block in network.blocks:
        block.drop_path_rate = 0.0  # type: ignore[assignment]  # the reference has none
    clip = torch.randn(1, config.in_chans, config.num_frames, config.img_size, config.img_size)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ratios = compare(
            {
                "plain": _step(Reference(network), network, clip, low=False),
                "ours": _step(network, network, clip, low=precision == "bf16-mixed"),
            },
            rounds=rounds,
            clock=time.process_time,
        )
    finally:
        torch.set_num_threads(before)
    note = f"{precision}; forward and backward of one clip; benchmarks/pretraining_step.py times whole steps"
    # Floor and goal are those of bfloat16.
    comparable = precision == "bf16-mixed"
    title = "pre-training step against the plain loop"
    return Row.of_ratio(title, ratios["ours"], 1.7, 2.0, comparable=comparable, note=note)


def _step(forward: Callable[[Tensor], Tensor], network: nn.Module, clip: Tensor, *, low: bool) -> Callable[[], None]:
    def run() -> None:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = forward(clip).float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]

    return run
