"""Products in panels for AVX2, built here from their source: in any shape as exact as float32, or exact in integers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from endofm.config import EncoderConfig
from endofm.kernels import int8, native_products, precision
from endofm.kernels.float32 import PanelFloat32Backend
from endofm.kernels.int8 import PanelInt8Backend, can_multiply_int8, quantise
from endofm.kernels.native_products import (
    PANEL,
    PANELS,
    ProductKernels,
    pack_panels,
    panel_product,
    panels_are_widest,
)
from helpers.compiled_library import build
from helpers.random_encoder import random_encoder

load_installed = native_products._panel_kernels.__wrapped__  # the fixture below replaces it


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ProductKernels:
    """Build the source in this checkout and replace the installed kernels with the result."""
    built = ProductKernels(build("_linear", tmp_path_factory.mktemp("kernels")), PANELS)
    if not built.usable:
        pytest.skip("this processor has no AVX2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_products, "_panel_kernels", lambda: built)
        yield built


def finished(x: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool) -> Tensor:
    x = x if bias is None else x + bias.double()
    x = F.gelu(x) if gelu else x
    return x if residual is None else x + residual.double()


@given(
    rows=st.integers(0, 300),
    inputs=st.one_of(st.integers(1, 40), st.integers(250, 530)),
    panels=st.integers(1, 6),
    bias=st.booleans(),
    residual=st.booleans(),
    gelu=st.booleans(),
    integers=st.booleans(),
    threads=st.integers(1, 3),
)
def test_equal_to_the_definition(
    rows: int, inputs: int, panels: int, bias: bool, residual: bool, gelu: bool, integers: bool, threads: int
) -> None:
    x, outputs = torch.randn(rows, inputs), panels * PANEL
    b = torch.randn(outputs) if bias else None
    r = torch.randn(rows, outputs) if residual else None
    torch.set_num_threads(threads)
    if not integers:
        weight = torch.randn(outputs, inputs) / inputs**0.5
        result = panel_product(x, pack_panels(weight), b, r, gelu=gelu)
        expected, allowed = x.double() @ weight.double().T, 1e-5
    else:
        weight = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8)
        scale = torch.rand(outputs) / inputs / 127
        # Inputs that are integers times the step, the outermost at the ends of the range.
        q, step, zero = torch.randint(0, 256, (rows, inputs)), 0.25, 101
        x = step * (q - zero).float()
        result = panel_product(x, pack_panels(weight), b, r, gelu=gelu, scale=scale, step=step, zero=zero)
        sums = (q - zero).double() @ weight.double().T
        expected, allowed = sums * step * scale.double(), 1e-5
    assert result.shape == (rows, outputs)
    torch.testing.assert_close(result.double(), finished(expected, b, r, gelu=gelu), atol=allowed, rtol=1e-5)


def test_sums_of_pairs_do_not_saturate() -> None:
    """Bytes multiplied in pairs into 16 bits would stop at 32767."""
    weight, x = torch.full((PANEL, 3072), 127, dtype=torch.int8), torch.full((2, 3072), 255.0)
    result = panel_product(x, pack_panels(weight), None, None, gelu=False, scale=torch.ones(PANEL), step=1.0, zero=0)
    assert torch.equal(result, torch.full((2, PANEL), 255.0 * 127 * 3072))


def test_values_outside_the_range_and_infinite_ones() -> None:
    weight = pack_panels(torch.eye(PANEL).to(torch.int8))
    x = torch.linspace(-10, 10, PANEL).repeat(2, 1)
    kept = panel_product(x, weight, None, None, gelu=False, scale=torch.ones(PANEL), step=1.0, zero=4)
    assert torch.equal(kept, x.round().clamp_min(-4))
    none = panel_product(x, weight, None, None, gelu=False, scale=torch.ones(PANEL), step=float("nan"), zero=0)
    assert none.isnan().all()
    exact = panel_product(x.fill_(float("inf")), pack_panels(torch.eye(PANEL) + 1), None, None, gelu=False)
    assert exact.isinf().all()


def test_the_number_of_threads_changes_nothing() -> None:
    x, weight = torch.randn(400, 300), pack_panels(torch.randn(96, 300))
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(panel_product(x, weight, None, None, gelu=True))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_gelu_is_that_of_pytorch() -> None:
    x = torch.cat((torch.linspace(-12, 12, 4001), torch.tensor([0.0, -0.0, 1e-30, -1e-30, 88.0, -88.0, 1e30, -1e30])))
    rows = x[: len(x) // PANEL * PANEL].view(-1, PANEL)
    result = panel_product(rows, pack_panels(torch.eye(PANEL)), None, None, gelu=True)
    torch.testing.assert_close(result.double(), F.gelu(rows.double()), atol=4e-7, rtol=4e-7)


def test_a_changed_axis_order_is_an_operator_of_pytorch() -> None:
    x, weight = torch.randn(4, 9, 64), pack_panels(torch.randn(32, 64))
    one_by_one = torch.stack([panel_product(rows, weight, None, None, gelu=False) for rows in x])
    mapped = torch.func.vmap(
        lambda rows: torch.ops.endofm.panel_product(rows, weight, None, None, None, False, 0.0, 0)
    )(x)
    assert torch.equal(mapped, one_by_one)


def test_an_encoder_takes_them_where_registers_are_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_products, "most_lanes", lambda: 16)
    assert not panels_are_widest()
    monkeypatch.setattr(native_products, "most_lanes", lambda: 8)
    assert panels_are_widest()
    monkeypatch.setattr(precision, "split_available", lambda: False)
    model = random_encoder(EncoderConfig(img_size=48, num_frames=4, embed_dim=128, depth=3, num_heads=2), noise=0.05)
    clip, calls = torch.randn(2, 3, 4, 48, 48), []
    run = native_products.panel_product
    monkeypatch.setattr("endofm.kernels.float32.panel_product", lambda *a, **k: calls.append(k["gelu"]) or run(*a, **k))
    expected = model(clip)
    with torch.no_grad():
        result = model(clip)
    assert True in calls
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


def test_integers_without_instructions_for_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "_is_exact", lambda kind: False)
    assert can_multiply_int8()
    assert type(int8.int8_backend()) is PanelInt8Backend
    layer, backend = torch.nn.Linear(70, 48), PanelInt8Backend()
    x = torch.randn(5, 7, 70)
    with torch.no_grad():
        rounded, step, zero = quantise(x)
        scale = layer.weight.abs().amax(dim=1) / 127
        weight = (layer.weight / scale[:, None]).round()
        expected = step * scale * ((rounded.float() - zero) @ weight.T) + layer.bias
        torch.testing.assert_close(backend.linear(x, layer), expected, atol=step * 0.2, rtol=0)
        torch.testing.assert_close(backend.add(expected, x, layer), 2 * expected, atol=step * 0.2, rtol=0)
        # A width that does not fill panels.
        odd = torch.nn.Linear(70, 50)
        assert torch.equal(backend.linear(x, odd), odd(x))


def test_another_width_is_left_to_onednn() -> None:
    layer, x = torch.nn.Linear(20, 37), torch.randn(3, 20)
    with torch.no_grad():
        torch.testing.assert_close(PanelFloat32Backend().linear(x, layer), layer(x), atol=1e-5, rtol=1e-5)


def test_memory_that_runs_out_is_reported(kernels: ProductKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels._library, "run", lambda name, tasks, job: setattr(job, "out_of_memory", 1))
    with pytest.raises(MemoryError, match="no memory left to multiply 3 rows"):
        panel_product(torch.zeros(3, 4), pack_panels(torch.zeros(16, 4)), None, None, gelu=False)


def test_a_limit_of_pytorch_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native_products, "load_library", lambda module, make: native_products._panel_kernels())
    monkeypatch.setattr(native_products, "most_lanes", lambda: 0)
    assert "no AVX2" in load_installed()
