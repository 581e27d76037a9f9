"""Several encoders in one pass: each as if it ran alone, and every frame decoded and resized once."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

import endofm
from endofm.errors import InputError
from endofm.transforms.processor import Processor
from helpers.inference_stand_ins import regular

pytestmark = pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")

# Other windows, frames, sides and kinds: video and frame encoders, tubelets of two frames, a network of timm.
NAMES = ("endofm-nano-4x96", "endofm-lv-tiny-random", "vjepa2-tiny-random", "pl-stitch-tiny-random")


@pytest.mark.parametrize("options", [{}, {"level": "patch", "hop_seconds": 1.5}, {"field_of_view": True}])
def test_the_numbers_are_those_of_single_runs(options: dict[str, object]) -> None:
    encoders = [endofm.load_encoder(name) for name in NAMES]
    together = endofm.extract_features(endofm.demo_video(), encoders, progress=False, batch_size=3, **options)  # type: ignore[arg-type]
    assert len({features.provenance["windows"]["num_frames"] for features in together}) > 1
    for encoder, features in zip(encoders, together, strict=True):
        alone = encoder.extract_features(endofm.demo_video(), progress=False, batch_size=3, **options)  # type: ignore[arg-type]
        assert features.provenance == alone.provenance
        assert features.arrays().keys() == alone.arrays().keys()
        for name, values in alone.arrays().items():
            assert np.array_equal(features.arrays()[name], values), name


def test_every_frame_is_asked_for_once_and_resized_once_per_size() -> None:
    encoders = [endofm.load_encoder(f"{name}-tiny-random") for name in ("endovit", "pl-stitch", "m2crl")]
    settings = [encoder.config.preprocess for encoder in encoders]
    sizes = {(c.short_side, c.crop_size, c.crop, c.antialias, c.resample) for c in settings}
    source = regular(120)
    with patch.object(Processor, "resize_frame", autospec=True, side_effect=Processor.resize_frame) as resized:
        endofm.extract_features(source, encoders, progress=False)
    assert source.asked == sorted(set(source.asked))
    assert resized.call_count == len(sizes) * len(source.asked)


def test_windows_apply_to_all_encoders() -> None:
    encoders = [endofm.load_encoder(name) for name in NAMES[1:3]]
    frames = np.zeros((60, 64, 64, 3), np.uint8)
    found = endofm.extract_features(frames, encoders, fps=10, window_seconds=2.0, progress=False)
    assert [features.end_seconds.tolist() for features in found] == [[2.0, 4.0, 6.0]] * 2


def test_no_encoders() -> None:
    with pytest.raises(InputError, match="no encoders given"):
        endofm.extract_features(endofm.demo_video(), [])


def test_an_encoder_with_other_weights_of_the_same_kind() -> None:
    encoder = endofm.load_encoder("endovit-tiny-random")
    shifted = endofm.load_encoder("endovit-tiny-random")
    shifted.processor = Processor(replace(shifted.config.preprocess, mean=(0.1, 0.2, 0.3)))
    first, second = endofm.extract_features(regular(60), [encoder, shifted], progress=False)
    assert not np.allclose(first.embeddings, second.embeddings)
