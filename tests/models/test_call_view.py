"""Precision and device of one call hold for that call alone, whatever other threads ask of the same model."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

from endofm import EncoderConfig, EndoFM, ModelConfig, PreprocessConfig
from endofm.kernels.int8 import can_multiply_int8
from endofm.models.call_view import precision_in_use, view_for_call
from endofm.models.pretrained import Pretrained
from helpers.small_classifier import classifier
from helpers.small_segmenter import small_segmenter
from helpers.tiny_detector import tiny_detector

PRECISIONS = ["exact", "bfloat16", *(["int8"] if can_multiply_int8() else [])]
VIDEO = np.random.default_rng(0).integers(0, 256, (24, 48, 64, 3), np.uint8)


def small_encoder() -> EndoFM:
    torch.manual_seed(0)
    config = ModelConfig(
        encoder=EncoderConfig(img_size=32, num_frames=4, embed_dim=64, depth=2, num_heads=2),
        preprocess=PreprocessConfig.for_image_size(32, num_frames=4, window_seconds=0.5),
        trained=False,
    )
    model = EndoFM(config).eval()
    # The published rule starts temporal attention at zero.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def embed(model: EndoFM, precision: str | None) -> tuple[np.ndarray[Any, Any], str]:
    features = model.extract_features(VIDEO, fps=10, batch_size=1, precision=precision, progress=False)  # type: ignore[arg-type]
    return features.embeddings, features.provenance["precision"]


def test_threads_with_mixed_precisions_compute_and_say_what_a_single_one_would() -> None:
    model = small_encoder()
    alone = {precision: embed(small_encoder(), precision)[0] for precision in PRECISIONS}
    assert not np.array_equal(alone["exact"], alone["bfloat16"])
    threads = 6
    together = Barrier(threads)

    def work(number: int) -> list[tuple[str, np.ndarray[Any, Any], str]]:
        together.wait()
        order = [PRECISIONS[(number + step) % len(PRECISIONS)] for step in range(8)]
        return [(precision, *embed(model, precision)) for precision in order]

    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(work, range(threads)):
            for requested, embeddings, said in results:
                assert said == requested
                assert np.array_equal(embeddings, alone[requested])
    assert model.precision == "exact"
    assert np.array_equal(embed(model, None)[0], alone["exact"])


def test_a_setting_that_changes_meanwhile_does_not_reach_a_running_call() -> None:
    model = small_encoder()
    expected = embed(model, "exact")[0]
    rows: list[np.ndarray[Any, Any]] = []
    plain = type(model)._encode

    def switching(self: EndoFM, clips: torch.Tensor, *, level: str) -> Any:
        model.precision = "bfloat16"
        return plain(self, clips, level=level)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "_encode", switching)
        embeddings, said = embed(model, None)
        rows.append(embeddings)
    assert said == "exact"
    assert np.array_equal(rows[0], expected)
    assert embed(model, None)[1] == "bfloat16"


def test_results_say_what_overrules_the_precision() -> None:
    model = small_encoder()
    with torch.autocast("cpu", torch.bfloat16):
        lower, said = embed(model, None)
    assert said == "autocast bfloat16"
    exact, plain = embed(model, None)
    assert plain == "exact"
    assert not np.array_equal(lower, exact)
    trained = small_encoder().train()
    assert embed(trained, "bfloat16")[1] == "exact, in training mode"
    assert trained.training
    assert np.allclose(embed(trained, "bfloat16")[0], exact, atol=1e-4)
    assert precision_in_use(small_encoder().half()) == "float16"


@pytest.mark.parametrize("make", [classifier, small_segmenter, tiny_detector])
def test_models_with_a_head_keep_their_settings(make: Any) -> None:
    model: Any = make()
    model = model.eval()
    lower = model.predict(VIDEO, fps=10, precision="bfloat16", progress=False)
    exact = model.predict(VIDEO, fps=10, progress=False)
    assert lower.provenance["precision"] == "bfloat16"
    assert exact.provenance["precision"] == "exact"
    assert model.precision == "exact"
    assert model.backbone.backends.precision == "exact"


@pytest.mark.parametrize("make", [classifier, small_segmenter, tiny_detector])
def test_threads_share_a_model_with_a_head(make: Any) -> None:
    def run(model: Any, precision: str) -> tuple[str, str, bytes]:
        options = {"min_score": 0.0} if make is tiny_detector else {}
        result = model.predict(VIDEO, fps=10, precision=precision, progress=False, **options)
        if make is tiny_detector:
            numbers = b"".join(frame.boxes.tobytes() + frame.scores.tobytes() for frame in result)
        elif make is small_segmenter:
            numbers = b"".join(np.array(packed.scores).tobytes() for packed in result.packed)
        else:
            numbers = result.probabilities.tobytes()
        return precision, result.provenance["precision"], numbers

    alone = {precision: run(make().eval(), precision)[2] for precision in ("exact", "bfloat16")}
    assert alone["exact"] != alone["bfloat16"]
    model = make().eval()
    with ThreadPoolExecutor(4) as pool:
        for asked, said, numbers in pool.map(lambda precision: run(model, precision), ["exact", "bfloat16"] * 6):
            assert said == asked
            assert numbers == alone[asked]


def test_a_view_shares_the_weights_and_the_hooks() -> None:
    model = small_encoder()
    view = view_for_call(model, torch.device("cpu"), "bfloat16")
    assert [id(p) for p in view.parameters()] == [id(p) for p in model.parameters()]
    calls: list[int] = []
    model.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    embed(model, "bfloat16")
    assert calls
    with torch.no_grad():
        model.pos_embed.add_(1)
    assert not np.array_equal(embed(model, None)[0], embed(small_encoder(), None)[0])


def test_a_call_on_another_device_copies_once_and_moves_nothing() -> None:
    model, meta = small_encoder(), torch.device("meta")
    first = view_for_call(model, meta, "exact")
    assert first.device == meta
    assert model.device == torch.device("cpu")
    assert first.pos_embed is view_for_call(model, meta, "bfloat16").pos_embed
    assert type(first.pos_embed) is torch.nn.Parameter
    with torch.no_grad():
        model.pos_embed.add_(1)
    assert first.pos_embed is not view_for_call(model, meta, "exact").pos_embed
    # The copies are part of no other copy.
    assert len(pickle.dumps(model)) < 2 * sum(p.nbytes for p in model.parameters())
    assert isinstance(copy.deepcopy(model), Pretrained)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_call_on_a_gpu_leaves_the_model_where_it_is() -> None:
    model = small_encoder()
    expected = embed(model, "exact")[0]

    def on(device: str) -> tuple[np.ndarray[Any, Any], str]:
        features = model.extract_features(VIDEO, fps=10, device=device, progress=False)
        return features.embeddings, features.provenance["device"]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(on, ["cpu", "cuda"] * 6))
    assert [said for _, said in results] == ["cpu", "cuda"] * 6
    for embeddings, said in results:
        assert np.abs(embeddings - expected).max() <= (1e-3 if said == "cuda" else 1e-5)
    assert model.device.type == "cpu"
