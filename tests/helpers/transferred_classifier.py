"""A small classifier trained a little by a transfer method, and its encoder."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from endofm import EndoFM, EndoFMForVideoClassification
from endofm.training.transfer.base import trainable_parameters
from endofm.training.transfer.methods import apply_transfer, set_training
from helpers.small_classifier import CONFIG, classifier, clip


def trained(word: str) -> EndoFMForVideoClassification:
    """Return a classifier that has learnt a little in the given way."""
    torch.manual_seed(0)
    model = classifier()
    apply_transfer(model, word)
    set_training(model)
    optimizer = torch.optim.SGD([p for _, p in trainable_parameters(model)], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(clip(3)), torch.tensor([0, 1, 2])).backward()
        optimizer.step()
    return model.eval()


def base() -> EndoFM:
    encoder = EndoFM(replace(CONFIG, head=None)).eval()
    encoder.load_state_dict(classifier().backbone.state_dict())
    return encoder
