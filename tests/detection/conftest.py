from __future__ import annotations

import detection_fill as fill
import pytest
import torch

from endofm.config import EncoderConfig
from endofm.heads.detection.head import DetectionHead
from endofm.hub.detection_keys import from_published
from endofm.models.detector import VideoDetector
from endofm.models.encoder import VideoTransformer


@pytest.fixture(scope="session")
def goldens() -> fill.Goldens:
    return fill.Goldens()


@pytest.fixture(scope="session")
def published_head() -> DetectionHead:
    """Everything after the encoder, with the weights that the golden arrays were made with."""
    tensors, _ = from_published(fill.published_tensors(("backbone.fpn.", "backbone.body.fpn2.", "rpn.")))
    head = DetectionHead()
    head.load_state_dict({name.removeprefix("head."): tensor for name, tensor in tensors.items()}, strict=True)
    return head.eval()


@pytest.fixture(scope="session")
def published_detector() -> VideoDetector:
    """The whole detector with the weights that the golden arrays were made with."""
    tensors, unused = from_published(fill.published_tensors())
    assert {name.split(".")[2] for name in unused} == {"fpn1"}
    with torch.device("meta"):
        detector = VideoDetector(VideoTransformer(EncoderConfig()), DetectionHead())
    detector.load_state_dict(tensors, strict=True, assign=True)
    return detector.eval()
