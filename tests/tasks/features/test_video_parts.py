"""Videos embedded in parts, in every coding, against one pass over them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from endofm import EncoderConfig, EndoFM, ModelConfig, PreprocessConfig, extract_features, open_video
from endofm.errors import VideoError
from endofm.tasks.features.video_parts import divide_video, embed_part, join_parts, read_part
from helpers.video_makers import CLIPS, write_clip

OPTIONS: dict[str, Any] = {"batch_size": 2, "level": "frame"}


@pytest.fixture(scope="module")
def encoders() -> list[EndoFM]:
    """Two encoders with windows and frames of their own."""
    made = []
    for seed, (frames, seconds) in enumerate([(4, 0.2), (3, 0.33)]):
        torch.manual_seed(seed)
        config = ModelConfig(
            encoder=EncoderConfig(img_size=32, num_frames=frames, embed_dim=12, depth=1, num_heads=2),
            preprocess=PreprocessConfig.for_image_size(32, num_frames=frames, window_seconds=seconds),
            trained=False,
        )
        made.append(EndoFM(config).eval())
    return made


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_parts_give_the_files_of_one_pass(name: str, encoders: list[EndoFM], tmp_path: Path) -> None:
    # Long enough to jump to a key frame, which nearer frames are not worth.
    path = write_clip(tmp_path / name, numbers=range(100), **CLIPS[name])
    whole = extract_features(path, encoders, **OPTIONS, progress=False)
    with open_video(path) as video:
        divided = divide_video(video, encoders, 1.4, **OPTIONS)
    if whole[0].problems:
        assert divided is None
        return
    assert divided is not None
    assert len(divided.parts) == 3
    results = []
    # In any order, each from the beginning of the file; the last one is read by somebody else.
    for part in reversed(divided.parts):
        with open_video(path) as video, open_video(path) as other:
            read = pickle.loads(pickle.dumps(list(read_part(other, part)))) if part.until is None else None
            arrays = embed_part(video, encoders, part, read, **OPTIONS)
        assert arrays is not None
        results.append(arrays)
    for index, expected in enumerate(whole):
        joined = join_parts(divided.provenance[index], [arrays[index] for arrays in reversed(results)])
        assert joined.save(tmp_path / "joined.npz").read_bytes() == expected.save(tmp_path / "one.npz").read_bytes()


def test_short_videos_are_one_part_and_damaged_ones_none(encoders: list[EndoFM], tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", **CLIPS["h264.mkv"])
    with open_video(path) as video:
        whole = divide_video(video, encoders, 10, **OPTIONS)
        assert whole is not None
        assert len(whole.parts) == 1
        divided = divide_video(video, encoders, 0.6, **OPTIONS)
    assert divided is not None
    # What the index of packets does not show is met by a part, which decodes as far as the next one begins.
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    path.write_bytes(content)
    with open_video(path) as video:
        parts = [embed_part(video, encoders, part, **OPTIONS) for part in divided.parts]
    assert None in parts
    with pytest.raises(VideoError, match="damaged"), open_video(path) as video:
        list(read_part(video, divided.parts[parts.index(None)]))
