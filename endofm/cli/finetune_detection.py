"""``endofm finetune detection``: a detector from videos with boxes."""

from __future__ import annotations

import argparse

SUMMARY = "train a detector: a new head, adapters or everything"


def run(args: argparse.Namespace) -> int:
    """Fine-tune."""
    from endofm.cli.finetune import run_task
    from endofm.errors import require_extra

    for module in ("yaml", "lightning_fabric", "pycocotools"):
        require_extra(module, "train", "Fine-tuning")
    from endofm.training.finetune.detection.config import DetectionConfig
    from endofm.training.finetune.detection.run import finetune_detection

    return run_task(args, "detection", DetectionConfig, finetune_detection)
