"""Names of the published tensors."""

from __future__ import annotations

import pytest

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
