"""Files of masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torch import Tensor

from endofm.config import PreprocessConfig
from endofm.errors import InputError, VideoError
from endofm.tasks.segmentation.files import FRAMES_NAME, write_masks
from endofm.tasks.segmentation.mask_painting import palette
from endofm.tasks.segmentation.results import VideoMasks
from endofm.tasks.segmentation.stream import MaskStream
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.video.open import open_video

LABELS = ("background", "square")


PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


WHOLE = PreprocessConfig.whole_frame(64, num_frames=4, **PLAIN)


def bright(clips: Tensor) -> Tensor:
    """A segmentation model without weights: what is brighter than half is the square."""
    value = clips.mean(1)
    return 20 * torch.stack([-value, value], dim=1)


def scene(height: int, width: int, squares: list[Box]) -> np.ndarray:
    """One frame per square, white on black."""
    frames = np.zeros((len(squares), height, width, 3), np.uint8)
    for frame, box in zip(frames, squares, strict=True):
        frame[box.top : box.bottom, box.left : box.right] = 255
    return frames


def segment(
    frames: np.ndarray, config: PreprocessConfig, model: Callable[[Tensor], Tensor] = bright, **options: int
) -> VideoMasks:
    with open_video(frames, fps=10) as source:
        stream = MaskStream(model, source, Processor(config), labels=LABELS, **options)
        return stream.collect(progress=False)


@pytest.fixture
def found() -> VideoMasks:
    return segment(scene(40, 60, [Box(3 * i, 5, 10, 20) for i in range(3)] + [Box(0, 0, 1, 1)]), WHOLE)


def test_json_is_coco_and_comes_back(found: VideoMasks, tmp_path: Path) -> None:
    path = tmp_path / "masks.json"
    found.save(path)
    again = VideoMasks.load(path)
    np.testing.assert_array_equal(again.to_array(), found.to_array())
    assert again.labels == found.labels
    assert again.packed[1].scores == found.packed[1].scores
    np.testing.assert_array_equal(again.pts_seconds, found.pts_seconds)
    assert again.provenance == json.loads(json.dumps(found.provenance))
    coco = COCO(str(path))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["square"]
    annotations = coco.loadAnns(coco.getAnnIds())
    assert annotations
    for annotation in annotations:
        mask = found[annotation["image_id"] - 1].labels == 1
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()


def test_folder_of_indexed_images(found: VideoMasks, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    found.save(folder)
    rows = (folder / FRAMES_NAME).read_text().splitlines()
    assert rows[0] == "file,frame_index,pts_seconds,duration_seconds"
    assert len(rows) == 1 + len(found)
    for mask, row in zip(found, rows[1:], strict=True):
        with Image.open(folder / row.split(",")[0]) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), mask.labels)
            assert image.getpalette()[3:6] == palette(2)[1].tolist()
    with pytest.raises(InputError, match="not empty"):
        found.save(folder)


@pytest.mark.parametrize("name", ["masks.json", "masks"])
def test_nothing_is_written_half(found: VideoMasks, tmp_path: Path, name: str) -> None:
    def breaking() -> object:
        yield found[0]
        raise VideoError("the disk of the recorder went away")

    with pytest.raises(VideoError, match="recorder"):
        write_masks(tmp_path / name, breaking(), labels=LABELS, size=(40, 60), provenance=dict)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[]", '{"info": {"format": "coco"}}', '{"info": 3}'])
def test_other_json_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"other.json: this is not a file of masks"):
        VideoMasks.load(path)


def test_other_targets_are_refused(found: VideoMasks, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="json or into a folder"):
        found.save(tmp_path / "masks.zip")
