"""From a video to boxes: coordinates, times, supports, batches, memory."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from endofm import EndoFMForDetection, PreprocessConfig, open_video
from endofm.errors import InputError
from endofm.tasks.detection.cells import FrameBoxes
from endofm.tasks.detection.stream import DetectionStream
from endofm.tasks.detection.supports import SupportPlan
from endofm.transforms.processor import Processor
from helpers.tiny_detector import footage, tiny_detector


class BrightSquare:
    """Finds the bright square by its pixels: a detector whose right answer is known."""

    def __init__(self) -> None:
        self.looked = 0
        self.largest_look = 0

    def encode_frames(self, clips: Tensor) -> list[Any]:
        frames = list(clips.permute(0, 2, 1, 3, 4).flatten(0, 1))
        self.looked += len(frames)
        self.largest_look = max(self.largest_look, len(frames))
        return frames

    def find_boxes(self, target: Any, supports: list[Any], size: tuple[int, int]) -> FrameBoxes:
        bright = target[:, : size[0], : size[1]].mean(0) > 0.5 * float(target.max())
        rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
        box = [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
        return FrameBoxes(torch.tensor([box]), torch.tensor([0.9]), torch.tensor([1]))


def square(frames: int, height: int, width: int) -> np.ndarray[Any, Any]:
    out = np.zeros((frames, height, width, 3), np.uint8)
    for i in range(frames):
        out[i, 20 + i : 60 + i, 30 + 2 * i : 90 + 2 * i] = 255
    return out


@pytest.mark.parametrize(("crop", "size"), [("fit", 128), ("fit", 320), ("none", 160), ("center", 80)])
@pytest.mark.parametrize(("height", "width"), [(100, 160), (160, 120)])
def test_boxes_are_in_source_pixels(crop: str, size: int, height: int, width: int) -> None:
    processor = Processor(PreprocessConfig(short_side=size, crop_size=size, crop=crop))  # type: ignore[arg-type]
    frames = square(6, height, width)
    found = list(DetectionStream(BrightSquare(), open_video(frames, fps=10), processor, plan=SupportPlan()))
    assert [frame.seconds for frame in found] == pytest.approx([i / 10 for i in range(6)])
    # One pixel of the network's input, which is all that a threshold on its pixels can tell.
    step = float(processor.geometry(height, width).scale.max())
    visible = processor.geometry(height, width)
    low, high = visible.offset, visible.to_source(np.array([visible.crop.width, visible.crop.height]))
    for i, frame in enumerate(found):
        wanted = np.array([30 + 2 * i, 20 + i, 90 + 2 * i, 60 + i], np.float64)
        wanted = np.clip(wanted, [*low, *low], [*high, *high])  # what a square crop cuts off cannot be found
        np.testing.assert_allclose(frame.boxes[0], wanted, atol=1.01 * step)
        assert frame.labels.tolist() == [1]
        assert frame.index == i


def test_every_frame_is_looked_at_once_and_frames_are_batched() -> None:
    detector = BrightSquare()
    processor = Processor(PreprocessConfig(short_side=64, crop_size=64, crop="fit"))
    video = open_video(square(23, 64, 160))
    found = list(DetectionStream(detector, video, processor, plan=SupportPlan(), batch_size=4))
    assert detector.looked == len(found) == 23
    assert detector.largest_look == 4


def test_every_nth_frame_keeps_its_number_and_time() -> None:
    processor = Processor(PreprocessConfig(short_side=64, crop_size=64, crop="fit"))
    video = open_video(square(10, 64, 160), fps=5)
    found = list(DetectionStream(BrightSquare(), video, processor, plan=SupportPlan(), frame_stride=4))
    assert [(frame.index, frame.seconds) for frame in found] == [(0, 0.0), (4, 0.8), (8, 1.6)]


def predict(model: EndoFMForDetection, frames: np.ndarray[Any, Any], **options: Any) -> list[Any]:
    return list(model.predict(frames, min_score=0.0, progress=False, **options))


def test_boxes_do_not_depend_on_the_batch_and_online_needs_no_later_frame() -> None:
    model, frames = tiny_detector(), footage(14)
    one, three = predict(model, frames, batch_size=1), predict(model, frames, batch_size=3)
    for a, b in zip(one, three, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
    changed = frames.copy()
    changed[8:] = 0
    before, after = predict(model, frames, online=True), predict(model, changed, online=True)
    for i in range(8):  # the later half has no say in what was said before it
        assert np.array_equal(before[i].boxes, after[i].boxes)
        assert np.array_equal(before[i].scores, after[i].scores)
    offline = predict(model, changed)
    assert any(not np.array_equal(offline[i].scores, one[i].scores) for i in range(8))


def test_online_answers_before_the_next_frame_is_read() -> None:
    model = tiny_detector()
    read = []

    class Camera:
        """An open source that notes how far it was read."""

        metadata = open_video(footage(4)).metadata
        problems: tuple[str, ...] = ()

        def __iter__(self) -> Any:
            for i, frame in enumerate(open_video(footage(8))):
                read.append(i)
                yield frame

        def frame_times(self) -> Any: ...
        def end_seconds(self) -> float:
            return 1.0

        def sample(self, seconds: Any) -> Any: ...
        def close(self) -> None: ...

    with model.stream(Camera(), online=True) as stream:  # type: ignore[arg-type]
        for i, frame in enumerate(stream):
            assert frame.index == i
            # The thread that decodes ahead may be further; the detector is not.
            assert len(read) <= i + 1 + 2 * 2 + 2


def test_frames_of_one_clip_share_the_encoder_and_refuse_to_go_online() -> None:
    model, frames = tiny_detector(clip_frames=3), footage(8)
    with torch.no_grad():
        for block in model.backbone.blocks:
            torch.nn.init.normal_(block.temporal_fc.weight, std=0.5)
    together = predict(model, frames)
    alone = predict(model, frames, clip_frames=1)
    assert len(together) == len(alone) == 8
    assert not np.allclose(together[0].scores[:5], alone[0].scores[:5], atol=1e-6)
    with pytest.raises(InputError, match="clip_frames=1"):
        predict(model, frames, online=True)


def test_supports_change_the_result_and_seeds_repeat_it() -> None:
    model, frames = tiny_detector(supports="random", num_supports=4), footage(12)
    assert all(
        np.array_equal(a.scores, b.scores) for a, b in zip(predict(model, frames), predict(model, frames), strict=True)
    )
    without = predict(model, frames, supports=SupportPlan(count=0))
    assert any(not np.array_equal(a.scores, b.scores) for a, b in zip(predict(model, frames), without, strict=True))
    # A second video begins anew: its boxes do not depend on what was seen before.
    assert np.array_equal(predict(model, frames[5:])[0].boxes, predict(model, frames[5:])[0].boxes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"frame_stride": 0}, "frame_stride"),
        ({"min_score": 2}, "min_score"),
        ({"precision": "low"}, "precision"),
        ({"device": "nonsense"}, "device"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_detector().predict(footage(2), progress=False, **options)


def test_memory_does_not_grow_with_the_video() -> None:
    class Seen:
        """What the detector keeps of a frame."""

    alive: weakref.WeakSet[Seen] = weakref.WeakSet()
    most = 0

    class Counting:
        def encode_frames(self, clips: Tensor) -> list[Any]:
            seen = [Seen() for _ in range(clips.shape[0] * clips.shape[2])]
            alive.update(seen)
            return seen

        def find_boxes(self, target: Any, supports: list[Any], size: tuple[int, int]) -> FrameBoxes:
            nonlocal most
            most = max(most, len(alive))
            return FrameBoxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))

    processor = Processor(PreprocessConfig(short_side=32, crop_size=32, crop="fit"))
    plan, batch = SupportPlan(pattern="all"), 4
    frames = np.zeros((90, 32, 32, 3), np.uint8)
    found = list(DetectionStream(Counting(), open_video(frames), processor, plan=plan, batch_size=batch))
    assert len(found) == 90
    assert 2 * plan.reach + 1 <= most <= 2 * plan.reach + 1 + batch
