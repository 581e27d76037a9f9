"""The precision switch: what it refuses, and which backend it leads to."""

from __future__ import annotations

import pytest
import torch

from endofm.config import EncoderConfig
from endofm.errors import InputError
from endofm.kernels.backend import EAGER
from endofm.kernels.precision import resolve_precision
from helpers.random_encoder import random_encoder

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
