"""torchcodec as the decoder of a file: the frames and times of PyAV, or an error with the next step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from endofm import EncoderConfig, EndoFM, ModelConfig, PreprocessConfig, open_video
from endofm.cli.main import main
from endofm.errors import InputError, MissingExtraError, VideoError
from endofm.video.frames import Frame
from helpers.video_makers import NUM_FRAMES, read_number, write_clip

Clip = Callable[[str], Path]


@pytest.fixture(scope="session")
def torchcodec(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where torchcodec or its FFmpeg is not installed; any other fault of it is one of ours."""
    path = write_clip(tmp_path_factory.mktemp("try") / "clip.mp4", numbers=range(3))
    try:
        open_video(path, decoder="torchcodec").close()
    except MissingExtraError as error:
        pytest.skip(str(error))


def numbers(frames: list[Frame]) -> list[int]:
    return [read_number(frame.data) for frame in frames]


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize("name", ["h264.mp4", "h264_10bit.mkv", "vp8.webm"])
def test_the_same_frames_at_the_same_times(clip: Clip, name: str) -> None:
    with open_video(clip(name)) as expected, open_video(clip(name), decoder="torchcodec") as video:
        assert (expected.metadata.decoder, video.metadata.decoder) == ("pyav", "torchcodec on cpu")
        np.testing.assert_array_equal(video.frame_times(), expected.frame_times())
        times = [0.0, 0.5, 0.5, 1.01, float(video.frame_times()[-1]), video.end_seconds(), 1e3]
        found, wanted = list(video.sample(times)), list(expected.sample(times))
        assert len(found) == 5
        assert found[1] is found[2]
        for one, other in zip([*found, *video], [*wanted, *expected], strict=True):
            assert (one.pts_seconds, one.duration_seconds) == (other.pts_seconds, other.duration_seconds)
            assert one.data.dtype == np.uint8
            assert np.abs(one.data.astype(int) - other.data).mean() < 3
        assert numbers(list(video)) == list(range(NUM_FRAMES))
        with pytest.raises(InputError, match="ascending"):
            list(video.sample([1.0, 0.5]))
    with pytest.raises(VideoError, match="was closed"):
        next(iter(video))


@pytest.mark.usefixtures("torchcodec")
def test_bytes_and_turned_pictures(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "turned.mp4", rotation=(90, False, False), numbers=range(4))
    with open_video(path) as expected, open_video(path.read_bytes(), decoder="torchcodec") as video:
        one, other = next(iter(video)), next(iter(expected))
        assert one.data.shape == other.data.shape
        assert np.abs(one.data.astype(int) - other.data).mean() < 3


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize(
    ("size", "colour", "told"),
    [
        ((1280, 720), None, True),
        ((1280, 720), (1, 1), False),
        ((128, 96), None, False),
    ],
)
def test_deviating_colours_are_reported(
    tmp_path: Path, size: tuple[int, int], colour: tuple[int, int] | None, told: bool
) -> None:
    path = write_clip(tmp_path / "clip.mp4", numbers=range(2), size=size, colour=colour)
    with open_video(path, decoder="torchcodec") as video:
        assert any("BT.601" in problem for problem in video.problems) == told


@pytest.mark.usefixtures("torchcodec")
def test_files_that_it_would_decode_wrongly_are_refused(clip: Clip, tmp_path: Path) -> None:
    mirrored = write_clip(tmp_path / "mirrored.mp4", rotation=(0, True, False), numbers=range(4))
    with pytest.raises(VideoError, match=r"mirrored\.mp4: torchcodec does not mirror .* PyAV"):
        open_video(mirrored, decoder="torchcodec")
    for name in ("h264.ts", "h264.avi", "raw.h264"):
        with pytest.raises(VideoError, match=rf"{name}: torchcodec does not find frames by number .* PyAV"):
            open_video(clip(name), decoder="torchcodec")
    whole = clip("h264.mp4").read_bytes()
    damaged = whole[:2000] + bytes(6000) + whole[8000:]
    with pytest.raises(VideoError, match=r"bytes: .*PyAV"), open_video(damaged, decoder="torchcodec") as video:
        list(video)


@pytest.mark.usefixtures("torchcodec")
def test_features_say_which_decoder_it_was(clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ModelConfig(
        encoder=EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=1, num_heads=2),
        preprocess=PreprocessConfig.for_image_size(32, num_frames=4, window_seconds=1.0),
    )
    model = EndoFM(config).eval()
    path = clip("h264.mp4")
    plain = model.extract_features(path, progress=False)
    features = model.extract_features(path, decoder="torchcodec", progress=False)
    assert features.provenance["video"]["decoder"] == "torchcodec on cpu"
    np.testing.assert_array_equal(features.frame_seconds, plain.frame_seconds)
    assert float(np.diag(plain.similarity(features)).min()) > 0.999
    weights, out = model.save_pretrained(tmp_path / "model"), tmp_path / "out"
    command = ["extract", str(path), "-o", str(out), "--weights", str(weights), "--quiet"]
    assert main([*command, "--decoder", "torchcodec"]) == 0
    assert main(command) == 1  # features of another decoder are others
    assert "decoder" in capsys.readouterr().err


def test_other_sources_have_nothing_to_decode(tmp_path: Path) -> None:
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    with open_video(frames, decoder="torchcodec") as video:
        assert len(list(video)) == 3
        with pytest.raises(InputError, match="open already"):
            open_video(video, decoder="torchcodec")
    with pytest.raises(InputError, match="decoder must be one of pyav, torchcodec, got 'nvdec'"):
        open_video(tmp_path, decoder="nvdec")  # type: ignore[arg-type]


def test_a_missing_torchcodec_is_explained(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(MissingExtraError, match=r'pip install "endofm\[torchcodec\]"'):
        open_video(clip("h264.mp4"), decoder="torchcodec")

    def unloadable(*_: Any, **__: Any) -> None:
        raise RuntimeError("Could not load libtorchcodec. Likely causes: ...")

    decoders = ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = unloadable  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    with pytest.raises(MissingExtraError, match="apt install ffmpeg"):
        open_video(clip("h264.mp4"), decoder="torchcodec")
