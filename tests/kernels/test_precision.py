"""The precision switch: what it refuses, and which backend it leads to."""

from __future__ import annotations

import pytest
import torch

from endofm.config import EncoderConfig
from endofm.errors import EndoFMWarning, InputError
from endofm.kernels import precision as module
from endofm.kernels.backend import EAGER
from endofm.kernels.precision import effective_precision, product_speed, resolve_precision
from endofm.tasks.features.model import EndoFM
from helpers.random_encoder import random_encoder

CPU = torch.device("cpu")
SMALL = EncoderConfig(img_size=32, num_frames=4, embed_dim=32, depth=3, num_heads=2)


def test_int8_is_refused_where_it_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'int8' needs a processor"):
        resolve_precision("int8", torch.device("meta"))
    monkeypatch.setattr("endofm.kernels.precision.can_multiply_int8", lambda: False)
    with pytest.raises(InputError, match="use 'bfloat16' or 'exact'"):
        resolve_precision("int8", torch.device("cpu"))
    with torch.no_grad(), pytest.raises(InputError, match="'int8' needs a processor"):
        random_encoder(SMALL, "int8")(torch.zeros(1, 3, 4, 32, 32))


def test_frozen_encoders_are_fast_without_no_grad() -> None:
    model = random_encoder(SMALL).requires_grad_(False)
    clip = torch.randn(1, 3, 4, 32, 32)
    tokens, _ = model.embed(clip)
    assert model.backends.select(model, tokens) is not EAGER
    assert not model(clip).requires_grad
    model.norm.requires_grad_()
    assert model.backends.select(model, tokens) is EAGER
    assert model(clip).requires_grad


def test_a_precision_that_is_no_faster_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, low = random_encoder(SMALL), random_encoder(SMALL, "bfloat16")
    low.load_state_dict(exact.state_dict())
    monkeypatch.setattr(module, "product_speed", lambda name: 1.05)
    assert effective_precision("bfloat16", CPU) == "exact"
    with pytest.warns(EndoFMWarning, match="this processor does not multiply faster in bfloat16 than in float32"):
        assert resolve_precision("bfloat16", CPU) == "exact"
    # The encoder may have come from a device where it is faster.
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(low(clip), exact(clip))
        monkeypatch.setattr(module, "product_speed", lambda name: 1.5)
        assert resolve_precision("bfloat16", CPU) == "bfloat16"
        assert not torch.equal(low(clip), exact(clip))


def test_results_say_what_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "product_speed", lambda name: 0.06)
    frames = torch.zeros(16, 64, 64, 3, dtype=torch.uint8)
    with pytest.warns(EndoFMWarning):
        model = EndoFM.from_pretrained("endofm-tiny-8x224-random", precision="bfloat16")
    assert model.precision == "exact"
    with pytest.warns(EndoFMWarning, match="'exact' instead"):
        features = model.extract_features(frames, fps=8, precision="bfloat16")
    assert features.provenance["precision"] == "exact"
    with pytest.warns(EndoFMWarning):
        model.precision = "bfloat16"
    assert model.precision == "exact"


def test_the_speed_of_products_is_measured() -> None:
    state = torch.random.get_rng_state()
    measure = product_speed.__wrapped__
    assert measure("exact") == pytest.approx(1, abs=0.7)
    assert 0.001 < measure("bfloat16") < 100
    assert torch.equal(torch.random.get_rng_state(), state)
