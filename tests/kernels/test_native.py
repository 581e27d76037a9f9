"""The C kernels of attention, built here from their source: equal to the definition, and used where they fit."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from endofm.config import EncoderConfig
from endofm.kernels import native
from endofm.kernels.native import HEAD_DIM, AttentionKernels, attend, attention_fits, why_no_attention
from endofm.kernels.precision import Precision
from helpers.compiled_library import build
from helpers.random_encoder import random_encoder

DTYPES = (torch.float32, torch.bfloat16)
load_installed = native._attention_kernels.__wrapped__  # the fixture below replaces it


@pytest.fixture(scope="module", autouse=True, params=[16, 8] if platform.machine() == "x86_64" else [4])
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AttentionKernels:
    """Build the source in this checkout and replace the installed kernels, at each width that this processor has."""
    built = AttentionKernels(build("_attention", tmp_path_factory.mktemp("kernels")), request.param)
    if built.lanes != request.param or not hasattr(built._library.functions, f"attend_float32_{built.lanes}"):
        pytest.skip(f"this processor has no registers of {request.param} numbers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_attention_kernels", lambda: built)
        yield built


def inputs(sequences: int, tokens: int, heads: int, dtype: torch.dtype, *, tokens_first: bool) -> tuple[Tensor, ...]:
    """Queries, keys and values as views of one projection, with the tokens in either order."""
    shape = (tokens, sequences) if tokens_first else (sequences, tokens)
    qkv = torch.randn(*shape, 3, heads, HEAD_DIM).to(dtype)
    order = (2, 1, 3, 0, 4) if tokens_first else (2, 0, 3, 1, 4)
    return qkv.permute(order).unbind(0)


def defined(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention by its definition, in float64."""
    q, k, v = (x.double() for x in (q, k, v))
    return (q @ k.transpose(-2, -1) / 8).softmax(dim=-1) @ v


def available(dtype: torch.dtype, kernels: AttentionKernels) -> None:
    if dtype not in kernels.dtypes:
        pytest.skip(f"this processor has no instructions for {dtype}")


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    sequences=st.integers(1, 9),
    tokens=st.integers(1, 300),
    heads=st.integers(1, 4),
    tokens_first=st.booleans(),
    size=st.sampled_from([0.1, 1.0, 30.0, 1e4]),
)
def test_equal_to_the_definition(
    dtype: torch.dtype,
    sequences: int,
    tokens: int,
    heads: int,
    tokens_first: bool,
    size: float,
    kernels: AttentionKernels,
) -> None:
    available(dtype, kernels)
    q, k, v = inputs(sequences, tokens, heads, dtype, tokens_first=tokens_first)
    q.mul_(size)
    kept = [x.clone() for x in (q, k, v)]
    assert attention_fits(q, k, v)
    result = attend(q, k, v)
    # The scores themselves are rounded, to some 2^-22 of their size, before they decide which key is ahead.
    allowed = 2e-6 * max(size, 1) * 8 if dtype is torch.float32 else 0.03
    if size < 1e4:
        torch.testing.assert_close(result.double(), defined(q, k, v), atol=allowed, rtol=1e-2 if allowed > 0.01 else 0)
    else:  # One key has nearly all the weight; nothing may overflow.
        bounds = v.double().aminmax(dim=2, keepdim=True)
        assert bool(((result >= bounds.min - 0.05) & (result <= bounds.max + 0.05)).all())
    assert all(torch.equal(x, y) for x, y in zip((q, k, v), kept, strict=True))
    order = (2, 0, 1, 3) if tokens_first else (0, 2, 1, 3)
    assert result.permute(order).is_contiguous(), "heads of a token are adjacent, tokens in their order"


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_far_apart(dtype: torch.dtype, kernels: AttentionKernels) -> None:
    """A key far ahead gets all the weight, one far behind none: no overflow in the exponential."""
    available(dtype, kernels)
    q, k, v = (torch.zeros(1, 1, 20, HEAD_DIM, dtype=dtype) for _ in range(3))
    q[..., 0], v[..., :] = 1, torch.arange(20, dtype=dtype)[:, None]
    k[..., 7, 0], k[..., 8, 0] = 1e30, -1e30
    assert torch.equal(attend(q, k, v), torch.full_like(q, 7))
    k.zero_()
    k[..., 8, 0] = -1e30
    expected = defined(q, k, v)
    torch.testing.assert_close(
        attend(q, k, v).double(), expected, atol=1e-5 if dtype is torch.float32 else 0.05, rtol=0
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [8, 37])
def test_what_is_not_a_number_stays_in_its_head(dtype: torch.dtype, tokens: int, kernels: AttentionKernels) -> None:
    available(dtype, kernels)
    q, k, v = inputs(3, tokens, 2, dtype, tokens_first=True)
    clean = attend(q, k, v)
    k[1, 0, tokens - 1, 5] = float("nan")
    result = attend(q, k, v)
    assert result[1, 0].isnan().all()
    result[1, 0] = clean[1, 0]
    assert torch.equal(result, clean)


@pytest.mark.parametrize("tokens", [8, 197])
def test_the_number_of_threads_changes_nothing(tokens: int) -> None:
    q, k, v = inputs(24, tokens, 3, torch.float32, tokens_first=tokens == 8)
    before, result = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            result.append(attend(q, k, v))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(result[0], result[1])
    assert torch.equal(result[0], result[2])


def test_pytorchs_own_limit_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    class Recorded(AttentionKernels):
        def __init__(self, path: Path, most_lanes: int = 16) -> None:
            limits.append(most_lanes)
            self.dtypes = ()

    monkeypatch.setattr(native, "AttentionKernels", Recorded)
    spec = importlib.util.spec_from_file_location("endofm.kernels._attention", tmp_path / "_attention.so")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)  # whether or not the package is installed
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for capability in ("AVX512", "AVX2", "DEFAULT", "newer"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        load_installed()
    assert limits == [16, 8, 0, 16]


def test_what_does_not_fit() -> None:
    q, k, v = inputs(2, 5, 2, torch.float32, tokens_first=False)
    assert attention_fits(q, k, v)
    assert not attention_fits(*(x.half() for x in (q, k, v)))
    assert not attention_fits(*(x.double() for x in (q, k, v)))
    assert not attention_fits(*(x[..., :32] for x in (q, k, v)))
    assert not attention_fits(*(x[:0] for x in (q, k, v)))
    assert not attention_fits(*(x.to("meta") for x in (q, k, v)))
    assert not attention_fits(q, k, v.clone())
    assert not attention_fits(q[:, :, :1], k, v)
    apart = torch.randn(2, 2, 5, 2 * HEAD_DIM)[..., ::2]
    assert not attention_fits(apart, apart, apart)


def test_memory_that_runs_out_is_reported(kernels: AttentionKernels) -> None:
    job = native._AttentionJob(heads=1, tokens=2**48)
    kernels._library.run(f"attend_float32_{kernels.lanes}", 1, job)
    assert job.out_of_memory


@pytest.mark.parametrize("precision", ["exact", "bfloat16"])
@pytest.mark.parametrize("level", ["clip", "tokens"])
def test_an_encoder_with_and_without_them(
    precision: Precision, level: str, kernels: AttentionKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    available(torch.float32 if precision == "exact" else torch.bfloat16, kernels)
    model = random_encoder(EncoderConfig(img_size=48, num_frames=4, embed_dim=128, depth=3, num_heads=2), noise=0.05)
    model.precision = precision
    clips = torch.randn(3, 3, 4, 48, 48)
    calls, run = [], kernels.attend
    monkeypatch.setattr(kernels, "attend", lambda q, k, v: calls.append(q.shape[2]) or run(q, k, v))
    encode = model if level == "clip" else lambda clips: model.forward_features(clips)
    with torch.inference_mode():
        result = _tensor(encode(clips))
        assert sorted(set(calls)) == [4, 10]
        monkeypatch.setattr(native, "_attention_kernels", lambda: "removed")
        count = len(calls)
        expected = _tensor(encode(clips))
    assert len(calls) == count
    allowed = 1e-5 if precision == "exact" else 0.05
    torch.testing.assert_close(result, expected, atol=allowed, rtol=allowed)


def _tensor(out: object) -> Tensor:
    if isinstance(out, Tensor):
        return out
    tokens = out.patch_tokens  # type: ignore[attr-defined]
    assert isinstance(tokens, Tensor)
    return tokens


def test_an_operator_that_pytorch_knows() -> None:
    """Its transforms apply: mapping over an extra axis equals separate calls."""
    q, k, v = (torch.randn(4, 2, 3, 9, HEAD_DIM) for _ in range(3))
    one_by_one = torch.stack([attend(*x) for x in zip(q, k, v, strict=True)])
    assert torch.equal(torch.func.vmap(torch.ops.endofm.attend)(q, k, v), one_by_one)


def test_a_missing_library_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "C compiler" in load_installed()
    broken = tmp_path / "_attention.so"
    broken.write_bytes(b"no library")
    spec = importlib.util.spec_from_file_location("endofm.kernels._attention", broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert "cannot be loaded" in load_installed()
    monkeypatch.setattr(native, "_attention_kernels", load_installed)
    assert "cannot be loaded" in str(why_no_attention())
    q, k, v = inputs(2, 5, 2, torch.float32, tokens_first=False)
    assert not attention_fits(q, k, v)


@pytest.mark.parametrize(
    "reason",
    [
        "kernels.native:why_no_attention",
        "kernels.native_products:why_no_split",
        "kernels.native_products:why_no_panels",
        "transforms.picking:why_no_picking",
    ],
)
def test_an_installation_has_them(reason: str, tmp_path: Path) -> None:
    """An installed package was built with a compiler; at most the processor lacks the instructions."""
    try:
        files = importlib.metadata.files("endofm") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    if not any(file.match("endofm/kernels/native.py") for file in files):
        pytest.skip("installed as a link to this folder")
    module, function = reason.split(":")
    code = f"from endofm.{module} import {function}; print({function}())"
    command = [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(("None", "this processor"))
