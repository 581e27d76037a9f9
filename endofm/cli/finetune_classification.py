"""``endofm finetune classification``: a video classifier from labelled videos."""

from __future__ import annotations

import argparse

SUMMARY = "train a video classifier: a new head, adapters or everything"


def run(args: argparse.Namespace) -> int:
    """Fine-tune."""
    from endofm.cli.finetune import run_task
    from endofm.errors import require_extra

    for module in ("yaml", "lightning_fabric", "torchmetrics", "sklearn"):
        require_extra(module, "train", "Fine-tuning")
    from endofm.training.finetune.classification.config import ClassificationConfig
    from endofm.training.finetune.classification.run import finetune_classification

    return run_task(args, "classification", ClassificationConfig, finetune_classification)
