"""The selective scan: its recurrence, in parts, with gradients, and by the kernel of another package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from endofm.layers import selective_scan as module
from endofm.layers.selective_scan import chunked_scan, fused_scan, selective_scan


def sequences(length: int, channels: int = 3) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x, step = torch.randn(2, length, channels), torch.rand(2, length, channels)
    return x, step, -4 * torch.rand(channels, 4), torch.randn(2, length, 4), torch.randn(2, length, 4)


def recurrence(
    x: Tensor, step: Tensor, decay: Tensor, into: Tensor, out: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The scan in float64, step by step."""
    x, step, decay, into, out = (tensor.double() for tensor in (x, step, decay, into, out))
    h = torch.zeros(x.shape[0], *decay.shape).double() if state is None else state.double().transpose(1, 2)
    read = []
    for i in range(x.shape[1]):
        h = torch.exp(step[:, i, :, None] * decay) * h + (step[:, i] * x[:, i])[..., None] * into[:, i, None]
        read.append((h * out[:, i, None]).sum(-1))
    return torch.stack(read, dim=1).float(), h.transpose(1, 2).float()


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Any:
    """Stand-in with the signature and axes of ``mamba_ssm``: sequences ``(batch, channels, length)``."""
    assert D is z is delta_bias is None
    assert not delta_softplus
    assert all(tensor.is_contiguous() for tensor in (u, delta, B, C))
    read, last = recurrence(u.mT, delta.mT, A, B.mT, C.mT)
    return (read.mT, last.mT) if return_last_state else read.mT


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``mamba_ssm`` with the stand-in."""
    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = selective_scan_fn  # type: ignore[attr-defined]
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    module._fused_kernel.cache_clear()
    yield
    module._fused_kernel.cache_clear()


@pytest.mark.parametrize("length", [1, 4, 64, 65, 150])
@pytest.mark.parametrize("channels", [3, 8000])
def test_a_scan_is_its_recurrence(length: int, channels: int) -> None:
    data = sequences(length, channels)
    read, last = selective_scan(*data)
    expected, h = recurrence(*data)
    # Against float64, relative to the largest: so many steps of random numbers add up to about ten.
    assert (read - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert torch.allclose(last, h, atol=1e-5)


@pytest.mark.parametrize("cut", [1, 63, 99])
def test_a_scan_resumes_from_its_state(cut: int) -> None:
    x, step, decay, into, out = sequences(100)
    whole, end = chunked_scan(x, step, decay, into, out)
    read, state = chunked_scan(x[:, :cut], step[:, :cut], decay, into[:, :cut], out[:, :cut])
    kept = state.clone()
    more, last = chunked_scan(x[:, cut:], step[:, cut:], decay, into[:, cut:], out[:, cut:], state)
    assert torch.allclose(torch.cat((read, more), dim=1), whole, atol=1e-5)
    assert torch.allclose(last, end, atol=1e-5)
    assert torch.equal(state, kept)  # the caller's, not a buffer


def test_a_state_is_no_part_of_a_larger_buffer() -> None:
    _, state = chunked_scan(*sequences(100))
    assert state.untyped_storage().nbytes() == state.numel() * 4


def test_gradients_are_those_of_the_recurrence() -> None:
    def gradients(scan: Any) -> list[Tensor]:
        data = [tensor.requires_grad_() for tensor in sequences(70)]
        read, last = scan(*data)
        return list(torch.autograd.grad(read.square().sum() + last.sum(), data))

    for found, expected in zip(gradients(chunked_scan), gradients(recurrence), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_kernel_of_mamba_ssm_gives_the_same(installed: None) -> None:
    kernel = module._fused_kernel()
    assert kernel is selective_scan_fn
    data = sequences(50)
    for state in (None, torch.randn(2, 4, 3)):
        for found, expected in zip(fused_scan(kernel, *data, state), chunked_scan(*data, state), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)


def test_the_kernel_is_used_on_a_gpu_alone(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr(module, "fused_scan", lambda kernel, *data: used.append(kernel) or chunked_scan(*data))
    data = sequences(5)
    selective_scan(*data)
    assert not used

    class OnGpu(Tensor):
        is_cuda = True  # type: ignore[assignment]

    selective_scan(data[0].as_subclass(OnGpu), *data[1:])
    assert used == [selective_scan_fn]


def test_without_mamba_ssm_there_is_no_kernel() -> None:
    module._fused_kernel.cache_clear()
    assert "mamba_ssm" in sys.modules or module._fused_kernel() is None
