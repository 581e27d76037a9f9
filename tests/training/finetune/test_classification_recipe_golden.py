"""Fine-tuning steps of the published classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from endofm import EndoFMForVideoClassification
from endofm.data.class_targets import Targets
from endofm.training.engine.training_task import Plan
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.classification_recipe import ClassificationTraining
from endofm.training.transfer.methods import apply_transfer
from helpers.golden_fill import normal_input
from helpers.published_classification import GOLDEN, published, tiny


def clips(name: str) -> Tensor:
    return torch.from_numpy(normal_input(name, (3, 3, 4, 64, 64)))


class Batch:
    """Clips with labels."""

    def __init__(self, frames: Tensor, labels: list[int]) -> None:
        self.frames, self.labels = frames, torch.tensor(labels)


def published_task(model: EndoFMForVideoClassification, config: ClassificationConfig) -> ClassificationTraining:
    transfer = apply_transfer(model, config.transfer)
    return ClassificationTraining(model, transfer, config, Targets.of(("0", "1"), multi_label=False))


def test_features_logits_and_loss_are_the_original_s() -> None:
    model = tiny()
    with torch.no_grad():
        features = model.backbone(clips("cls/clip"))
        logits = model(clips("cls/clip"))
    np.testing.assert_allclose(features, GOLDEN["features"], atol=1e-5)
    np.testing.assert_allclose(logits, GOLDEN["logits"], atol=1e-5)
    task = published_task(model, published())
    loss = task.loss(model, Batch(clips("cls/clip"), [1, 0, 1])).loss
    assert loss.item() == pytest.approx(float(GOLDEN["loss"]), abs=1e-5)


def test_three_steps_are_the_original_s() -> None:
    # As in the golden run: 0.5 * 4 / 256 with a cosine over three steps.
    config = published("optimizer.learning_rate=0.5", "schedule.every=step", "model.drop_path_rate=0")
    model = tiny()
    task = published_task(model, config)
    task.prepare(Plan(steps_per_epoch=1, total_steps=3, batch_size=4))
    optimizer = task.make_optimizer()
    task.set_training(True)
    for step, labels in enumerate(([1, 0, 1], [0, 0, 1], [1, 1, 0])):
        rates = task.schedule(optimizer, step)
        assert rates["lr"] == pytest.approx(GOLDEN["train/lr"][step], rel=1e-12)
        optimizer.zero_grad()
        output = task.training_step(model, Batch(clips(f"cls/train{step}"), labels), step)
        output.loss.backward()
        task.after_backward(step)
        optimizer.step()
        assert output.loss.item() == pytest.approx(float(GOLDEN["train/loss"][step]), abs=1e-5)
    np.testing.assert_allclose(model.head.linear.weight.detach(), GOLDEN["train/linear.weight"], atol=1e-5)
    np.testing.assert_allclose(model.head.linear.bias.detach(), GOLDEN["train/linear.bias"], atol=1e-5)
    own = {name: tensor.double() for name, tensor in model.backbone.state_dict().items()}
    compared = 0
    for name, l2, total in zip(GOLDEN["train/names"], GOLDEN["train/l2"], GOLDEN["train/sum"], strict=True):
        tensor = own.get(str(name).removeprefix("backbone."))
        if tensor is not None:
            compared += 1
            assert tensor.norm().item() == pytest.approx(l2, rel=1e-4)
            assert tensor.sum().item() == pytest.approx(total, rel=1e-4, abs=1e-3)
    assert compared == len(own)
