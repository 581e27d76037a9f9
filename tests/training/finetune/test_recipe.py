"""Optimiser and schedule: the published numbers, and the original's fine-tuning steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from endofm import EndoFMForVideoClassification
from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.data.class_targets import Targets
from endofm.errors import ConfigError
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.training.config_files import load_config
from endofm.training.engine.training_task import Plan
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.classification_recipe import ClassificationTraining
from endofm.training.finetune.configs import config_names, find_config
from endofm.training.finetune.learning_rate import ScheduleConfig
from endofm.training.finetune.optimizer import make_optimizer
from endofm.training.finetune.optimizer_config import OptimizerConfig
from endofm.training.transfer.methods import apply_transfer
from helpers import paths
from helpers.golden_fill import normal_input, param
from helpers.small_classifier import classifier

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


def clips(name: str) -> Tensor:
    return torch.from_numpy(normal_input(name, (3, 3, 4, 64, 64)))


class Batch:
    """Clips with labels."""

    def __init__(self, frames: Tensor, labels: list[int]) -> None:
        self.frames, self.labels = frames, torch.tensor(labels)


def published(*overrides: str) -> ClassificationConfig:
    named = ["data.train=a.txt", "data.test=b.txt", *overrides]
    return load_config(ClassificationConfig, find_config("classification", "polypdiag"), named)


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


def test_the_published_learning_rates() -> None:
    config = published()
    plan = Plan(steps_per_epoch=44, total_steps=20 * 44, batch_size=config.run.batch_size)
    rates = [config.optimizer.peak(4) * config.schedule.factor(plan, step) for step in range(plan.total_steps)]
    per_epoch = np.array(rates).reshape(20, 44)
    np.testing.assert_allclose(per_epoch, np.tile(GOLDEN["recipe/lr_per_epoch"][:, None], 44), rtol=1e-12)
    assert rates[0] == pytest.approx(1.5625e-5)


def test_the_published_recipe_is_what_the_preset_says() -> None:
    config = published()
    assert (config.run.epochs, config.run.batch_size, config.run.precision) == (20, 4, "32-true")
    assert (config.optimizer.name, config.optimizer.momentum, config.optimizer.weight_decay) == ("sgd", 0.9, 0.0)
    assert config.optimizer.clip_norm is None
    assert (config.model.drop_path_rate, config.published.preprocess) == (0.1, True)
    assert (config.published.frames, config.data.select_on_test, config.run.monitor) == (True, True, "f1")
    model = tiny()
    assert all(group["rate"] == 1 for group in make_optimizer(model, config.optimizer).param_groups)


@pytest.mark.parametrize("name", config_names("classification"))
def test_every_configuration_of_the_package_is_valid(name: str) -> None:
    file = find_config("classification", name)
    config = load_config(ClassificationConfig, file, ["data.train=a.csv", "data.test=b.csv"])
    assert config.run.monitor


def test_other_schedules() -> None:
    plan = Plan(steps_per_epoch=10, total_steps=100, batch_size=8)
    warm = ScheduleConfig(warmup_epochs=1, end=0.1)
    factors = [warm.factor(plan, step) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert max(factors) == factors[10] == 1
    assert factors[-1] == pytest.approx(0.1, abs=1e-3)
    assert (np.diff(factors[10:]) <= 0).all()
    polynomial = ScheduleConfig(name="polynomial", power=0.9)
    assert polynomial.factor(plan, 50) == pytest.approx(0.5**0.9)
    assert ScheduleConfig(name="constant").factor(plan, 99) == 1
    assert ScheduleConfig(every="epoch").factor(plan, 19) == ScheduleConfig(every="epoch").factor(plan, 10)


def test_lower_layers_learn_more_slowly_and_norms_are_not_decayed() -> None:
    model = classifier()
    apply_transfer(model, "full")
    optimizer = make_optimizer(model, OptimizerConfig(layer_decay=0.5, backbone_rate=0.1, weight_decay=0.3))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: (g["rate"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert set(rates) == set(names.values())
    assert rates["head.linear.weight"] == (1.0, 0.3)
    assert rates["backbone.norm.weight"] == (0.1, 0.0)
    assert rates["backbone.blocks.1.mlp.fc1.weight"] == (pytest.approx(0.05), 0.3)
    assert rates["backbone.blocks.0.mlp.fc1.weight"] == (pytest.approx(0.025), 0.3)
    assert rates["backbone.patch_embed.proj.weight"] == (pytest.approx(0.0125), 0.3)
    assert rates["backbone.pos_embed"][1] == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        "optimizer.learning_rate=0",
        "optimizer.layer_decay=1.5",
        "optimizer.clip_norm=-1",
        "schedule.end=2",
        "schedule.name=cosin",
        "transfer=adapters",
        "transfer.rank=3",
        "data.validation=c.txt",
        "evaluation.crops=2",
        "model.timm=x",
    ],
)
def test_wrong_settings_are_named(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong.split("=")[0].split(".")[0]):
        published(wrong, *(["model.source=y"] if "timm" in wrong else []))
