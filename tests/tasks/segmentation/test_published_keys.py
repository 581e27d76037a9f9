"""Names of the published tensors."""

from __future__ import annotations

import pytest

from endofm.errors import CheckpointFormatError
from endofm.hub.task_layout import ReadOptions
from endofm.tasks.segmentation.layout import SegmentationTaskLayout, from_published
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from helpers.published_names import to_published_segmentation
from helpers.small_segmenter import small_segmenter


def tiny_hybrid(*, num_classes: int = 2) -> EndoFMForSegmentation:
    return small_segmenter(num_classes=num_classes).double()  # so that laws hold to the last digits


@pytest.fixture(scope="module")
def hybrid() -> EndoFMForSegmentation:
    return tiny_hybrid()


def test_names_go_to_the_published_ones_and_back(hybrid: EndoFMForSegmentation) -> None:
    ours = hybrid.state_dict()
    published = to_published_segmentation(ours)
    assert SegmentationTaskLayout().matches(published)
    assert not SegmentationTaskLayout().matches(ours)
    assert not any(name.startswith(("backbone.", "head.")) for name in published)
    assert list(from_published(published)) == list(ours)


@pytest.mark.parametrize("entry", ["", "model_state_dict", "net"])
def test_compiled_models_are_recognised_wherever_they_are_stored(hybrid: EndoFMForSegmentation, entry: str) -> None:
    published = {f"module._orig_mod.{name}": t for name, t in to_published_segmentation(hybrid.state_dict()).items()}
    content = {entry: published, "epoch": 3} if entry else published
    found = SegmentationTaskLayout().read(content, ReadOptions(num_heads=2))
    assert list(found.tensors) == list(hybrid.state_dict())
    assert found.part == entry


def test_two_segmentation_models_are_not_guessed_between(hybrid: EndoFMForSegmentation) -> None:
    published = to_published_segmentation(hybrid.state_dict())
    content = {"model": published, "ema": dict(published)}
    with pytest.raises(CheckpointFormatError, match="'model', 'ema' all hold a segmentation model"):
        SegmentationTaskLayout().read(content, ReadOptions(num_heads=2))
    assert SegmentationTaskLayout().read(content, ReadOptions(num_heads=2, part="ema")).part == "ema"
