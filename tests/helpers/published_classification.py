"""The published fine-tuning of the golden classifier."""

from __future__ import annotations

import numpy as np
import torch

from endofm import EndoFMForVideoClassification
from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.training.config_files import load_config
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.configs import find_config
from helpers import paths
from helpers.golden_fill import param

GOLDEN = np.load(paths.GOLDEN / "classification.npz")


TINY = EncoderConfig(img_size=64, num_frames=4, embed_dim=64, depth=3, num_heads=4)


def tiny() -> EndoFMForVideoClassification:
    """Return the classifier of the golden file, with weights drawn from their names."""
    head = ClassificationHeadConfig(labels=("normal", "polyp"))
    preprocess = PreprocessConfig.for_image_size(64, num_frames=4)
    model = EndoFMForVideoClassification(ModelConfig(encoder=TINY, preprocess=preprocess, head=head)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            name = name.removeprefix("backbone.")
            name = name.replace("head.linear", "classifier/linear")
            parameter.copy_(torch.from_numpy(param(name, parameter.shape)))
    return model


def published(*overrides: str) -> ClassificationConfig:
    named = ["data.train=a.txt", "data.test=b.txt", *overrides]
    return load_config(ClassificationConfig, find_config("classification", "polypdiag"), named)
