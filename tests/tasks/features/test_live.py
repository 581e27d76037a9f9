"""Live features: the numbers of the whole clip, frame by frame, in memory that does not grow."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import endofm
from endofm.errors import EncoderOutputError, InputError
from endofm.tasks.features.model import VideoEncoder
from endofm.transforms.geometry import Box
from helpers.original_encoders import ENDOMAMBA, clip, golden

pytestmark = pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")


@pytest.fixture
def encoder(tmp_path: Path) -> VideoEncoder:
    """EndoMamba with the weights of the golden numbers, from a file in its original layout."""
    path = tmp_path / "endomamba.pth"
    torch.save(ENDOMAMBA.written(ENDOMAMBA.tensors()), path)
    return endofm.load_encoder(path)


def test_the_numbers_are_those_of_the_whole_clip(encoder: VideoEncoder) -> None:
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (40, 72, 90, 3), dtype=np.uint8)
    pixels = encoder.processor(frames)[None]
    with torch.inference_mode():
        whole = encoder.forward_features(pixels)
    assert whole.patch_tokens is not None
    live = encoder.live()
    for index, frame in enumerate(frames):
        found = live(frame)
        assert live.frames == index + 1
        assert torch.allclose(found.patch_tokens, whole.patch_tokens[0, index], atol=1e-5)
        if index in (0, 6, 39):
            with torch.inference_mode():
                so_far = encoder(pixels[:, :, : index + 1])[0]
            assert torch.allclose(found.clip_embedding, so_far, atol=1e-5)
    # The order of the frames counts: this is no encoder of single frames.
    alone = encoder.live()(frames[-1])
    assert not torch.allclose(alone.embedding, found.embedding, atol=1e-2)
    live.reset()
    assert torch.equal(live(frames[-1]).embedding, alone.embedding)


@pytest.mark.parametrize(("case", "shape"), [("base", (2, 3, 5, 64, 64)), ("frames9", (1, 3, 9, 64, 64))])
def test_the_golden_numbers_are_met_frame_by_frame(encoder: VideoEncoder, case: str, shape: tuple[int, ...]) -> None:
    numbers, pixels = golden("endomamba_tiny"), clip(f"endomamba_tiny/{case}", shape)
    for row in range(shape[0]):
        live = encoder.live()
        for time in range(shape[2]):
            found = live.embed(pixels[row, :, time])
            tokens = torch.cat((found.embedding[None], found.patch_tokens.flatten(0, 1)))
            expected = torch.from_numpy(numbers[f"{case}/tokens"][row, time])
            assert torch.allclose(tokens[:: 3 if case == "frames9" else 1], expected, atol=1e-5)
        assert torch.allclose(found.clip_embedding, torch.from_numpy(numbers[f"{case}/clip_cls_mean"][row]), atol=1e-5)


def test_memory_does_not_grow(encoder: VideoEncoder) -> None:
    def tensors() -> list[Tensor]:
        gc.collect()
        return [item for item in gc.get_objects() if type(item) is Tensor]

    # Tensors of earlier tests are left out, sparse ones and those without memory among them. They are kept, so that no
    # new tensor takes the place of one.
    earlier = tensors()
    known = {id(tensor) for tensor in earlier}

    def held() -> int:
        storages = [tensor.untyped_storage() for tensor in tensors() if id(tensor) not in known]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    live = encoder.live()
    sizes = []
    for index in range(120):
        live.embed(torch.full((3, 64, 64), index / 120))
        if index in (0, 1, 60, 119):
            sizes.append(held())
    assert len(set(sizes)) == 1, sizes
    # Two layers over time: states of 16 and three inputs of the convolution for each of 128 channels.
    state = live._state
    assert sum(tensor.untyped_storage().nbytes() for scan in state.scans for tensor in scan) == 2 * 128 * (16 + 3) * 4


def test_a_box_crops_every_frame(encoder: VideoEncoder) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    box = Box(top=10, left=20, height=80, width=80)
    found, expected = encoder.live(box=box)(frame), encoder.live()(frame[10:90, 20:100])
    assert torch.allclose(found.embedding, expected.embedding, atol=1e-5)


def test_other_encoders_are_refused() -> None:
    with pytest.raises(InputError, match="such as endomamba-s or fprl-s; this is a .* transformer"):
        endofm.load_encoder("endofm-nano-4x96").live()


def test_what_cannot_be_a_frame_is_refused(encoder: VideoEncoder) -> None:
    live = encoder.live()
    with pytest.raises(InputError, match="uint8"):
        live(np.zeros((64, 64, 3)))
    live.embed(torch.zeros(3, 64, 64))
    with pytest.raises(InputError, match=r"got \(3, 96, 96\) after \(3, 64, 64\)"):
        live.embed(torch.zeros(3, 96, 96))


def test_a_damaged_frame_does_not_reach_the_state(encoder: VideoEncoder) -> None:
    live, other = encoder.live(), encoder.live()
    first, second = torch.rand(3, 64, 64), torch.rand(3, 64, 64)
    live.embed(first)
    other.embed(first)
    with pytest.raises(EncoderOutputError, match="for frame 1"):
        live.embed(torch.full((3, 64, 64), torch.nan))
    assert live.frames == 1
    assert torch.equal(live.embed(second).embedding, other.embed(second).embedding)


def test_the_registered_random_encoder_is_live() -> None:
    live = endofm.load_encoder("endomamba-tiny-random").live()
    with endofm.open_video(endofm.demo_video()) as video:
        shown = [live(frame.data) for frame in video.sample([0.0, 0.5, 1.0])]
    assert {tuple(frame.embedding.shape) for frame in shown} == {(64,)}
    assert not torch.equal(shown[0].embedding, shown[-1].embedding)
