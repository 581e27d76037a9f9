"""Float32 products through the matrix unit, built here from their source: as exact as float32, in any shape."""

from __future__ import annotations

import copy
import ctypes
import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.reference import Reference
from endofm.config import EncoderConfig
from endofm.kernels import native_products as native
from endofm.kernels.backend import OneDnnBackend
from endofm.kernels.float32 import AmxFloat32Backend, split_weight
from endofm.kernels.native_products import BLOCK, SPLIT, ProductKernels, split_available, split_product, why_no_split
from endofm.models.encoder import VideoTransformer
from helpers.compiled_library import build
from helpers.random_encoder import random_encoder

load_installed = native._split_kernels.__wrapped__  # the fixture below replaces it


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ProductKernels:
    """Build the source in this checkout and replace the installed kernel with the result."""
    built = ProductKernels(build("_products", tmp_path_factory.mktemp("kernels")), SPLIT)
    if not built.usable:
        pytest.skip("this processor has no AMX")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "_split_kernels", lambda: built)
        yield built


def test_the_parts_are_the_number() -> None:
    """Three bfloat16 hold all 24 bits, in tiles of 16 outputs and pairs of inputs."""
    weight = torch.randn(64, 96) * torch.logspace(-20, 20, 96)
    packed = split_weight(weight)
    assert packed.shape == (2, 3, 3, 2, 16, 16, 2)
    assert packed.dtype is torch.bfloat16
    whole = packed.double().sum(dim=2)  # column step half pair output 2
    assert torch.equal(whole.permute(0, 2, 4, 1, 3, 5).reshape(64, 96), weight.double())


@given(
    rows=st.integers(0, 300),
    inputs=st.integers(1, 60),
    outputs=st.integers(1, 9),
    bias=st.booleans(),
    residual=st.booleans(),
    gelu=st.booleans(),
    threads=st.integers(1, 3),
)
def test_as_exact_as_float32(
    rows: int, inputs: int, outputs: int, bias: bool, residual: bool, gelu: bool, threads: int
) -> None:
    x, weight = torch.randn(rows, inputs * BLOCK), torch.randn(outputs * BLOCK, inputs * BLOCK)
    b = torch.randn(outputs * BLOCK) if bias else None
    r = torch.randn(rows, outputs * BLOCK) if residual else None
    kept = [t.clone() for t in (x, b, r) if t is not None]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        result = split_product(x, split_weight(weight), b, r, gelu=gelu)
    finally:
        torch.set_num_threads(before)
    expected = defined(x, weight, b, r, gelu=gelu)
    # Relative to the size of the terms that are added, as for any float32 product.
    sizes = x.double().norm(dim=1, keepdim=True) * weight.double().norm(dim=1)
    assert ((result - expected).abs() <= 3e-7 * (sizes + expected.abs() + 1)).all()
    assert all(torch.equal(a, c) for a, c in zip([t for t in (x, b, r) if t is not None], kept, strict=True))


def defined(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool) -> Tensor:
    """The definition, in float64."""
    out = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    out = F.gelu(out) if gelu else out
    return out if residual is None else out + residual.double()


@pytest.mark.parametrize("inputs", [96, 768, 3072])
def test_no_further_from_float64_than_plain_float32(inputs: int) -> None:
    x, weight = torch.randn(100, inputs), torch.randn(96, inputs)
    x[:, 5] *= 300  # a channel that stands out, as in trained transformers
    expected = defined(x, weight, None, None, gelu=False)
    split = (split_product(x, split_weight(weight), None, None, gelu=False) - expected).square().mean()
    plain = (x @ weight.T - expected).square().mean()
    assert split <= 1.5 * plain


def test_gelu_everywhere() -> None:
    """From the range where it is zero to where it is the identity; the weight is the identity matrix."""
    x = torch.linspace(-40, 40, 32 * 5000).view(-1, BLOCK)
    result = split_product(x, split_weight(torch.eye(BLOCK)), None, None, gelu=True)
    expected = F.gelu(x.double())
    assert ((result - expected).abs() <= 4e-7 * (1 + x.abs())).all()
    edges = torch.tensor([[0.0, 3e38, -3e38, 1e-36]]).repeat(1, 8)
    result = split_product(edges, split_weight(torch.eye(BLOCK)), None, None, gelu=True)
    torch.testing.assert_close(result, torch.tensor([[0.0, 3e38, 0.0, 5e-37]]).repeat(1, 8), atol=0, rtol=1e-3)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so_in_its_row(value: float, gelu: bool) -> None:
    x, weight = torch.randn(70, 64), split_weight(torch.randn(64, 64))
    clean = split_product(x, weight, None, None, gelu=gelu)
    x[41, 3] = value
    result = split_product(x, weight, None, None, gelu=gelu)
    assert not result[41].isfinite().any()
    result[41] = clean[41]
    assert torch.equal(result, clean)


def test_the_number_of_threads_changes_nothing() -> None:
    x, weight, before, result = (
        torch.randn(777, 1600),
        split_weight(torch.randn(160, 1600)),
        torch.get_num_threads(),
        [],
    )
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            result.append(split_product(x, weight, None, None, gelu=False))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result[0], other) for other in result[1:])


def test_pytorch_still_multiplies_correctly_between_calls() -> None:
    """Both use the matrix unit, each with its own tile shapes."""
    torch.manual_seed(0)
    low, weight = torch.randn(100, 320).bfloat16(), torch.randn(96, 320)
    usual, packed = low @ weight.bfloat16().T, split_weight(weight)
    for _ in range(5):
        split_product(low.float(), packed, None, None, gelu=False)
        assert torch.equal(low @ weight.bfloat16().T, usual)


def test_memory_that_runs_out_is_reported(kernels: ProductKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(name: str, tasks: int, job: ctypes.Structure, *, grain: int = 1) -> None:
        job.out_of_memory = 1

    monkeypatch.setattr(kernels._library, "run", run_out)
    with pytest.raises(MemoryError, match="3 rows"):
        split_product(torch.zeros(3, 32), split_weight(torch.zeros(32, 32)), None, None, gelu=False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [(64, 96), (64, 40), (40, 64)])
def test_layers_of_any_width(widths: tuple[int, int], bias: bool) -> None:
    layer, backend = nn.Linear(*widths, bias=bias), AmxFloat32Backend()
    x, stream = torch.randn(3, 2, 7, widths[0]), torch.randn(3, 2, 7, widths[1])
    with torch.inference_mode(False), torch.no_grad():
        torch.testing.assert_close(backend.linear(x, layer), layer(x))
        torch.testing.assert_close(backend.linear(x, layer, gelu=True), F.gelu(layer(x)))
        torch.testing.assert_close(backend.add(stream, x, layer), stream + layer(x))
        across = x.transpose(0, 2)
        torch.testing.assert_close(
            backend.add(stream.transpose(0, 2), across, layer), (stream + layer(x)).transpose(0, 2)
        )


@pytest.mark.parametrize("level", ["clip", "tokens"])
def test_an_encoder_with_and_without_them(level: str, kernels: ProductKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_encoder(EncoderConfig(img_size=48, num_frames=4, embed_dim=128, depth=3, num_heads=2), noise=0.05)
    without = copy.deepcopy(model)
    clips, calls, run = torch.randn(3, 3, 4, 48, 48), [], kernels.multiply
    monkeypatch.setattr(kernels, "multiply", lambda *args, **more: calls.append(1) or run(*args, **more))
    with torch.inference_mode():
        result = _tensor(model, clips, level)
        assert len(calls) == 3 * 6 - (4 if level == "clip" else 0)
        monkeypatch.setattr(native, "_split_kernels", lambda: "removed")
        expected = _tensor(without, clips, level)
        assert any(type(a) is OneDnnBackend for a in without.backends._backends.values())
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    if level == "clip":
        torch.testing.assert_close(result, Reference(model)(clips), atol=1e-5, rtol=1e-5)


def _tensor(model: VideoTransformer, clips: Tensor, level: str) -> Tensor:
    out = model(clips) if level == "clip" else model.forward_features(clips).patch_tokens
    assert isinstance(out, Tensor)
    return out


def test_an_operator_that_pytorch_knows() -> None:
    """Its transforms apply: mapping over an extra axis equals separate calls."""
    x, weight = torch.randn(4, 9, 64), split_weight(torch.randn(32, 64))
    one_by_one = torch.stack([split_product(rows, weight, None, None, gelu=False) for rows in x])
    mapped = torch.func.vmap(lambda rows: torch.ops.endofm.split_product(rows, weight, None, None, False))(x)
    assert torch.equal(mapped, one_by_one)


def test_a_missing_library_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "C compiler" in load_installed()
    broken = tmp_path / "_products.so"
    broken.write_bytes(b"no library")
    spec = importlib.util.spec_from_file_location("endofm.kernels._products", broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(native, "_split_kernels", load_installed)
    assert "cannot be loaded" in str(why_no_split())
    assert not split_available()
