"""What is recorded and replayed, with a stand-in for the recorder; on a GPU, the real one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from endofm.kernels.cuda_graphs import GraphedEncoder, Replay
from endofm.outputs import EncoderOutput


class Recorder:
    """Counts; its replays are marked by a minus sign."""

    def __init__(self, *, fails: bool = False) -> None:
        self.recorded: list[tuple[tuple[int, ...], str]] = []
        self.fails = fails

    def __call__(self, encode: object, clips: Tensor, level: str) -> Replay:
        self.recorded.append((tuple(clips.shape), level))
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda clips: EncoderOutput(-clips.sum(1), None)


def encode(clips: Tensor, *, level: str) -> EncoderOutput:
    return EncoderOutput(clips.sum(1), None)


def test_only_shapes_that_come_again_are_recorded() -> None:
    recorder = Recorder()
    graphed = GraphedEncoder(encode, recorder)
    full, rest = torch.ones(4, 3), torch.ones(1, 3)
    signs = [graphed(clips, level="clip").cls_token[0].item() for clips in (full, full, full, rest)]
    assert signs == [3, -3, -3, 3]
    assert recorder.recorded == [((4, 3), "clip")]
    assert graphed(full, level="patch").cls_token[0] == 3, "another level is another computation"


def test_what_cannot_be_recorded_runs_as_it_is() -> None:
    recorder = Recorder(fails=True)
    graphed = GraphedEncoder(encode, recorder)
    for _ in range(4):
        assert graphed(torch.ones(2, 3), level="clip").cls_token[0] == 3
    assert len(recorder.recorded) == 1, "it is tried once"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["exact", "bfloat16"])
def test_recorded_encoder_equals_the_eager_one(precision: str) -> None:
    from endofm import EncoderConfig, VideoTransformer

    model = VideoTransformer(EncoderConfig.preset("tiny", depth=2)).eval().cuda()
    model.precision = precision  # type: ignore[assignment]
    graphed = GraphedEncoder(lambda clips, *, level: EncoderOutput(model(clips), None))
    with torch.inference_mode():
        for seed in range(4):
            torch.manual_seed(seed)
            clips = torch.randn(2, 3, 8, 224, 224, device="cuda")
            torch.testing.assert_close(graphed(clips, level="clip").cls_token.clone(), model(clips))
