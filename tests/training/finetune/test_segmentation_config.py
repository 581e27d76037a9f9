"""Settings of segmentation: presets, and settings that contradict each other."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.errors import ConfigError
from endofm.training.config_files import load_config
from endofm.training.engine.training_task import Plan
from endofm.training.finetune.configs import config_names, find_config
from endofm.training.finetune.segmentation_config import SegmentationConfig
from helpers.small_segmentation_run import settings


def test_presets_can_be_read_and_say_what_they_are() -> None:
    assert config_names("segmentation") == ["cvc12k", "nano", "sound"]
    for name in config_names("segmentation"):
        overrides = ["data.train=x", "data.test=y"]
        config = load_config(SegmentationConfig, find_config("segmentation", name), overrides)
        assert config.run.monitor == ("published_dice" if name == "cvc12k" else "dice_clip")
    sound = load_config(SegmentationConfig, find_config("segmentation", "sound"), ["data.train=x"])
    assert not sound.optimizer.decay_all
    assert sound.data.augment == "clip"
    assert sound.run.precision == "auto"


def test_the_published_schedule_is_one_step_late() -> None:
    # Facts: 1e-4 at steps 0 and 1, then 1e-4 (1 - (k - 1) / 3000) ** 0.9; 1.385e-7 at the end.
    overrides = ["data.train=x", "data.test=y"]
    config = load_config(SegmentationConfig, find_config("segmentation", "cvc12k"), overrides)
    plan = Plan(steps_per_epoch=20, total_steps=3000, batch_size=1)
    lag = config.published.schedule_lag
    rates = np.array([1e-4 * config.schedule.factor(plan, max(step - lag, 0)) for step in range(3000)])
    expected = 1e-4 * (1 - np.maximum(np.arange(3000) - 1, 0) / 3000) ** 0.9
    np.testing.assert_allclose(rates, expected, rtol=1e-9)
    assert rates[-1] == pytest.approx(1.385e-7, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.num_frames=null"], "processed one by one"),
        (["data.augment=published"], "must be one of clip, none"),
        (["data.select_on_test=true"], "needs a test"),
        (["data.labels=[polyp]"], "background first"),
        (["model.image_size=50"], "multiple of 16"),
        (["transfer=attentive"], "full, linear, st-adapter, lora"),
        (["evaluation.overlap=3"], "smaller than num_frames"),
    ],
)
def test_settings_that_contradict_each_other(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings("x", *overrides)
