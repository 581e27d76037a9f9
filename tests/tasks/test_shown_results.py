"""Results in a notebook, in numpy and at a prompt: short, true, and escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import endofm
from endofm import EndoFM, FeatureSet, demo_video, load_model, open_video
from endofm.errors import InputError

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def encoder() -> EndoFM:
    return EndoFM.from_pretrained("endofm-nano-4x96")


def predicted(name: str) -> Any:
    model: Any = load_model(name)
    return model.predict(FRAMES, fps=10, progress=False)


def test_everything_public_is_short_at_a_prompt(encoder: EndoFM) -> None:
    features = encoder.extract_features(demo_video(), progress=False)
    shown: list[Any] = [encoder, encoder.processor, encoder.forward_features(torch.zeros(1, 3, 4, 96, 96))]
    shown += [features, features[0], encoder.stream_features(demo_video())]
    with open_video(demo_video()) as source, open_video(FRAMES) as array:
        shown += [source, array, next(iter(source))]
    for name in ("organs", "polyp-masks", "polyp-boxes"):
        result = predicted(f"endofm-nano-{name}")
        shown += [result, result[0], *getattr(result, "packed", ())[:1]]
    for one in shown:
        text = repr(one)
        assert len(text) < 250, text
        assert "\n" not in text, text
        assert " at 0x" not in text, text
        assert type(one).__name__ in text
    assert repr(encoder).startswith("EndoFM(endofm-nano-4x96; ")
    assert repr(encoder).endswith("; 2.7 M parameters; exact on cpu)")
    assert "(blocks): ModuleList(" in str(encoder)
    assert "cls_token (1, 192), patch_tokens (1, 4, 6, 6, 192), float32 on cpu" in repr(shown[2])


def test_tables_of_notebooks_escape_what_is_data(encoder: EndoFM, tmp_path: Path) -> None:
    name = "<script>alert(1)<&.mp4"
    (tmp_path / name).write_bytes(demo_video().read_bytes())
    features = encoder.extract_features(tmp_path / name, progress=False)
    features.save(tmp_path / f"{name}.npz")
    organs: Any = load_model("endofm-nano-organs")
    for result in (features, organs.predict(tmp_path / name, progress=False), FeatureSet.open(tmp_path)):
        table = result._repr_html_()
        assert "<script" not in table
        assert "&lt;script&gt;alert(1)&lt;&amp;.mp4" in table
    for weights in ("polyp-masks", "polyp-boxes"):
        assert "<td>12 of 64 x 64</td>" in predicted(f"endofm-nano-{weights}")._repr_html_()


def test_results_are_arrays_and_join_labels(encoder: EndoFM) -> None:
    spans = [(0.0, 0.65, "caecum"), (0.65, 9.0, "rectum")]
    masks, boxes, organs = (predicted(f"endofm-nano-{name}") for name in ("polyp-masks", "polyp-boxes", "organs"))
    expected = ["caecum"] * 7 + ["rectum"] * 5
    assert masks.labels_from(spans, min_overlap=0.5) == expected
    assert boxes.labels_from(spans, min_overlap=0.5) == expected
    assert len(organs.labels_from(spans)) == len(organs)
    assert np.asarray(masks).shape == (12, 64, 64)
    assert np.array_equal(np.asarray(organs), organs.probabilities)
    assert np.asarray(masks[:0]).shape == (0, 64, 64)
    assert boxes.between(0.2, 0.4).frames == boxes.frames[2:4]


def test_a_list_of_videos_is_told_from_a_list_of_images(encoder: EndoFM) -> None:
    with pytest.raises(InputError, match="one video per call"):
        encoder.extract_features([demo_video(), str(demo_video())])
    assert endofm.open_video([FRAMES[0], FRAMES[1]]).metadata.num_frames == 2
