"""``endofm finetune segmentation``: a mask model from clips with masks."""

from __future__ import annotations

import argparse

SUMMARY = "train a mask model: the published hybrid or a light head, adapters or everything"


def run(args: argparse.Namespace) -> int:
    """Fine-tune."""
    from endofm.cli.finetune import run_task
    from endofm.errors import require_extra

    for module in ("yaml", "lightning_fabric", "torchmetrics", "scipy"):
        require_extra(module, "train", "Fine-tuning")
    from endofm.training.finetune.segmentation.config import SegmentationConfig
    from endofm.training.finetune.segmentation.run import finetune_segmentation

    return run_task(args, "segmentation", SegmentationConfig, finetune_segmentation)
