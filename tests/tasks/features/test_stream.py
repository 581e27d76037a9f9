"""Feature streams: independent of batching, threads that end, errors that surface, bounded memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from endofm.config import PreprocessConfig
from endofm.errors import EncoderOutputError, InputError, VideoError
from endofm.outputs import EncoderOutput
from endofm.tasks.features import files, stream
from endofm.tasks.features.results import VideoFeatures
from endofm.tasks.features.stream import Encode, FeatureStream
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import WindowSettings
from endofm.video.open import open_video
from endofm.video.writer import write_video
from helpers.inference_stand_ins import encode, regular

SMALL = Processor(PreprocessConfig(num_frames=4, window_seconds=1.0, short_side=18, crop_size=16))


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "endofm-read-ahead"]


def extract_features(
    encode: Encode,
    source: Any,
    processor: Processor,
    *,
    level: Any = "clip",
    batch_size: int = 4,
    precision: str = "exact",
    provenance: dict[str, Any] | None = None,
    **windows: Any,
) -> VideoFeatures:
    settings = WindowSettings.for_preprocess(processor.config, **windows)
    features = FeatureStream(
        encode, source, processor, settings, level=level, batch_size=batch_size, precision=precision
    )
    return features.collect(weights=provenance, progress=False)


def features_of(source: Any, **options: Any) -> VideoFeatures:
    return extract_features(encode, source, SMALL, **options)


def noise(count: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def assert_equal(a: VideoFeatures, b: VideoFeatures) -> None:
    for name in ("embeddings", "start_seconds", "end_seconds", "frame_seconds", "frame_embeddings", "patch_tokens"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        assert x is None or (x.shape == y.shape and x.tobytes() == y.tobytes()), name


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    batch_size=st.integers(1, 12),
    window=st.sampled_from([0.3, 1.0, 2.5]),
    hop=st.sampled_from([None, 0.2, 0.75]),
    level=st.sampled_from(["clip", "frame", "patch"]),
)
def test_batch_size_changes_nothing(batch_size: int, window: float, hop: float | None, level: str) -> None:
    with open_video(noise(40), fps=10) as source:
        options = {"window_seconds": window, "hop_seconds": hop, "level": level}
        assert_equal(
            features_of(source, batch_size=1, **options), features_of(source, batch_size=batch_size, **options)
        )


def test_each_clip_equals_one_that_is_prepared_separately() -> None:
    frames = noise(35)
    with open_video(frames, fps=10) as source:
        features = features_of(source, hop_seconds=0.5, level="patch", batch_size=3)
    assert features.start_seconds.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert features.end_seconds.tolist() == [1, 1.5, 2, 2.5, 3, 3.5]
    assert features.frame_seconds[0] == pytest.approx([0, 0.3, 0.6, 0.9])
    for i in range(6):
        indices = np.round(features.frame_seconds[i] * 10).astype(int)
        assert indices.tolist() == [5 * i, 5 * i + 3, 5 * i + 6, 5 * i + 9]
        output = encode(SMALL(frames[indices])[None], level="patch")
        assert output.patch_tokens is not None
        assert np.array_equal(features.embeddings[i], output.cls_token[0])
        assert np.array_equal(features.patch_tokens[i], output.patch_tokens[0])  # type: ignore[index]
        assert np.allclose(features.frame_embeddings[i], output.patch_tokens[0].mean((1, 2)))  # type: ignore[index]


def test_an_encoded_video_has_the_times_of_its_frames(tmp_path: Path) -> None:
    # Frame i is a grey of its own, so that the features tell which frames were used.
    greys = np.repeat(np.arange(60, dtype=np.uint8) * 4, 24 * 32 * 3).reshape(60, 24, 32, 3)
    write_video(tmp_path / "a.mp4", greys, fps=20)

    def grey(clips: Tensor, *, level: str) -> EncoderOutput:
        mean = torch.tensor(SMALL.config.mean)[:, None, None, None]
        std = torch.tensor(SMALL.config.std)[:, None, None, None]
        return EncoderOutput((clips * std + mean).mean((1, 3, 4)) * 255 / 4, None)

    with open_video(tmp_path / "a.mp4") as source:
        features = extract_features(grey, source, SMALL, window_seconds=1, hop_seconds=0.4)
    assert features.start_seconds == pytest.approx([0, 0.4, 0.8, 1.2, 1.6, 2.0])
    assert features.end_seconds[-1] == pytest.approx(3.0)
    assert np.abs(features.embeddings - features.frame_seconds * 20).max() < 0.9
    video = features.provenance["video"]
    assert (video["name"], video["codec"], video["end_seconds"]) == ("a.mp4", "h264", pytest.approx(3.0))
    assert video["size_bytes"] == (tmp_path / "a.mp4").stat().st_size


def test_images_and_very_short_videos(tmp_path: Path) -> None:
    Image.fromarray(noise(1)[0]).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", noise(1), noise(2), Image.fromarray(noise(1)[0])):
        with open_video(source) as opened:
            features = features_of(opened, level="frame")
            end = opened.end_seconds()
        assert len(features) == 1
        assert (features.start_seconds[0], features.end_seconds[0]) == (0, pytest.approx(end))
        assert np.isfinite(features.frame_embeddings).all()  # type: ignore[arg-type]


def test_provenance_says_how() -> None:
    with open_video(noise(30), fps=10) as source:
        features = features_of(source, frame_stride=2, hop_frames=4, level="frame", provenance={"sha256": "ab"})
    assert features.provenance["weights"] == {"sha256": "ab"}
    assert features.provenance["windows"] == {"num_frames": 4, "frame_stride": 2, "hop_frames": 4}
    assert features.provenance["preprocess"]["crop_size"] == 16
    assert (features.provenance["level"], features.provenance["precision"]) == ("frame", "exact")
    assert features.provenance["library"]["torch"] == torch.__version__
    assert features.problems == ()


def test_a_short_file_is_reported() -> None:
    features = features_of(regular(100, readable=62), window_seconds=2)
    assert len(features) == 4
    assert features.problems == ("frames could be decoded only up to 6.100 s; 10.000 s were expected",)


def test_nothing_decodable_is_an_error() -> None:
    with pytest.raises(VideoError, match="no frame"):
        features_of(regular(10, readable=0))


def test_field_of_view_is_found_once_and_used() -> None:
    frames = np.zeros((30, 200, 300, 3), np.uint8)
    frames[:, 20:180, 60:220] = np.random.default_rng(0).integers(60, 255, (160, 160, 3), dtype=np.uint8)
    config = PreprocessConfig(num_frames=4, window_seconds=1.0, short_side=18, crop_size=16, field_of_view=True)
    with open_video(frames, fps=10) as source:
        features = extract_features(encode, source, Processor(config))
        whole = features_of(source)
        cropped = Processor(config)
        box = cropped.find_field_of_view(frames)
    assert box is not None
    assert features.provenance["field_of_view"]["width"] == box.width < 220
    assert whole.provenance["field_of_view"] is None
    assert not np.allclose(features.embeddings, whole.embeddings)
    expected = encode(cropped(frames[:4], box)[None], level="clip").cls_token
    assert np.allclose(features.embeddings[0], expected[0])


def test_embeddings_are_float32_whatever_the_encoder_computes_in() -> None:
    def low(clips: Tensor, *, level: str) -> EncoderOutput:
        return EncoderOutput(clips.mean((2, 3, 4)).bfloat16(), None)

    features = extract_features(low, regular(20), SMALL, precision="bfloat16")
    assert features.embeddings.dtype == np.float32
    assert features.provenance["precision"] == "bfloat16"


def test_large_results_go_to_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = features_of(regular(200), level="patch")
    monkeypatch.setattr(stream, "Spool", lambda: files.Spool(memory_limit=500))
    spooled = features_of(regular(200), level="patch")
    assert isinstance(spooled.patch_tokens, np.memmap)
    assert_equal(plain, spooled)


@pytest.mark.parametrize("level", ["clip", "frame"])
def test_values_that_are_not_numbers_are_refused(level: str) -> None:
    def broken(clips: Tensor, *, level: str) -> EncoderOutput:
        output = encode(clips, level=level)
        assert output.patch_tokens is not None
        if level == "clip":
            output.cls_token[0, 0] = torch.nan
        else:
            output.patch_tokens[0, 1, 1, 1, 0] = torch.inf
        return output

    with pytest.raises(EncoderOutputError, match=r"list: .* clips from 0:00 on.*weights are damaged"):
        extract_features(broken, regular(30), SMALL, level=level)
    assert not readers()


def test_an_encoder_without_patch_tokens() -> None:
    def blind(clips: Tensor, *, level: str) -> EncoderOutput:
        return EncoderOutput(clips.mean((2, 3, 4)), None)

    assert len(extract_features(blind, regular(30), SMALL)) == 3
    with pytest.raises(EncoderOutputError, match="level 'patch'"):
        extract_features(blind, regular(30), SMALL, level="patch")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "pixel"}, "level must be one of clip, frame, patch"),
        ({"batch_size": 0}, "batch_size"),
        ({"frame_stride": 2, "window_seconds": 3.0}, "not both"),
        ({"hop_seconds": 0}, "hop_seconds"),
    ],
)
def test_bad_arguments_are_refused_before_reading(options: dict[str, Any], message: str) -> None:
    source = regular(30)
    with pytest.raises(InputError, match=message):
        features_of(source, **options)
    assert not source.asked


def test_errors_of_the_source_surface_as_themselves() -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        features_of(regular(100, fail_at=50), window_seconds=0.4)
    assert not readers()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_errors_of_the_encoder_stop_the_thread(error: type[BaseException]) -> None:
    calls = 0

    def failing(clips: Tensor, *, level: str) -> EncoderOutput:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise error("enough")
        return encode(clips, level=level)

    source = regular(100_000)
    with pytest.raises(error, match="enough"):
        extract_features(failing, source, SMALL, batch_size=1)
    assert not readers()
    assert len(source.asked) < 50


def test_stopping_early_stops_the_thread() -> None:
    source = regular(100_000)
    batches = iter(FeatureStream(encode, source, SMALL, batch_size=2))
    assert len(next(batches)) == 2
    assert readers()
    batches.close()
    assert not readers()
    assert len(source.asked) < 60
