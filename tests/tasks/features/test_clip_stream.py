"""Clips as they become ready: the numbers of a whole run, and an end that leaves nothing behind."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import numpy as np
import pytest

from endofm import EndoFM, demo_video
from endofm.errors import CancelledError, InputError, VideoError
from endofm.video.open import open_video


@pytest.fixture(scope="module")
def model() -> EndoFM:
    return EndoFM.from_pretrained("endofm-nano-4x96")


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "endofm-read-ahead"]


@pytest.mark.parametrize("options", [{}, {"level": "frame", "hop_seconds": 2.0, "batch_size": 3}])
def test_the_clips_are_those_of_a_whole_run(model: EndoFM, options: dict[str, Any]) -> None:
    whole = model.extract_features(demo_video(), progress=False, **options)
    stream = model.stream_features(demo_video(), **options)
    assert stream.expected() == len(whole)
    for found, expected in zip(stream, whole, strict=True):
        assert found.start_seconds == expected.start_seconds
        assert np.array_equal(found.embedding, expected.embedding)
        assert np.array_equal(found.frame_embeddings, expected.frame_embeddings)  # type: ignore[arg-type]
    assert json.loads(json.dumps(stream.provenance())) == whole.provenance
    assert not readers()


def test_a_clip_comes_before_the_next_one_is_encoded(model: EndoFM) -> None:
    with model.stream_features(demo_video(), batch_size=1, hop_seconds=1.0) as stream:
        next(stream)
        # One finished and one in preparation, of some twenty.
        assert readers()
    assert not readers()
    assert next(stream, None) is None


def test_leaving_the_loop_ends_the_thread(model: EndoFM) -> None:
    for _ in model.stream_features(demo_video(), batch_size=1):
        break
    assert not readers()


def test_a_stream_that_is_never_started_closes_its_video(model: EndoFM) -> None:
    with open_video(demo_video()) as source:
        stream = model.stream_features(source)
        stream.close()
        assert next(iter(source.sample([0.0]))).data.ndim == 3
    with model.stream_features(demo_video()) as stream:
        source = stream._stream.source
    with pytest.raises(VideoError, match="closed"):
        next(iter(source.sample([0.0])))


def test_cancelled_from_another_thread(model: EndoFM) -> None:
    stream = model.stream_features(demo_video(), batch_size=1)
    next(stream)
    other = threading.Thread(target=stream.cancel)
    other.start()
    other.join()
    with pytest.raises(CancelledError, match="cancelled after 1 of 4 clips"):
        next(stream)
    assert not readers()


def test_a_progress_function_counts_and_can_cancel_every_call(model: EndoFM, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="endofm")
    counts: list[tuple[int, int | None]] = []
    list(model.stream_features(demo_video(), progress=lambda *both: counts.append(both)))
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def refuse(done: int, total: int | None) -> None:
        raise CancelledError(f"after {done} of {total}")

    for call in (model.extract_features, lambda *args, **named: list(model.stream_features(*args, **named))):
        with pytest.raises(CancelledError, match="after [14] of 4"):
            call(demo_video(), progress=refuse)
        assert not readers()
    outcomes = [record.endofm["outcome"] for record in caplog.records]  # type: ignore[attr-defined]
    assert outcomes == ["done", "CancelledError", "CancelledError"]
    facts = caplog.records[0].endofm  # type: ignore[attr-defined]
    assert {facts[key] for key in ("name", "task", "device", "precision")} == {
        "procedure.mp4",
        "features",
        "cpu",
        "exact",
    }


def test_errors_come_at_once(model: EndoFM) -> None:
    with pytest.raises(VideoError, match="no such file"):
        model.stream_features("missing.mp4")
    with pytest.raises(InputError, match="batch_size"):
        model.stream_features(demo_video(), batch_size=0)
