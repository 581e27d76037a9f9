"""Settings of classification: presets, and wrong settings."""

from __future__ import annotations

import pytest

from endofm.errors import ConfigError
from endofm.training.config_files import load_config
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.configs import config_names, find_config
from endofm.training.finetune.optimizer import make_optimizer
from helpers.published_classification import published, tiny


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
