"""Selective state spaces (Mamba, arXiv 2312.00752) in one or two directions, in plain PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.config.mamba_config import MambaConfig
from endofm.layers.selective_scan import selective_scan


class ScanState(NamedTuple):
    """State of a layer over time between two parts of a sequence; its size does not depend on the length.

    Attributes:
        inputs: Last inputs of the convolution, ``(sequences, inner_dim, conv_size - 1)``.
        hidden: State of the scan, ``(sequences, state_size, inner_dim)``.
    """

    inputs: Tensor
    hidden: Tensor


class RmsNorm(nn.Module):
    """Division by the root of the mean square, and a gain per channel."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(..., dim)``."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class MambaMixer(nn.Module):
    """Gated scan of a sequence of tokens; parameters have the names of the published files.

    Args:
        config: Architecture.
        bidirectional: Add a second scan, of the reversed sequence, with parameters of its own.
    """

    def __init__(self, config: MambaConfig, *, bidirectional: bool) -> None:
        super().__init__()
        self.config, self.bidirectional = config, bidirectional
        width, inner = config.embed_dim, config.inner_dim
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        for suffix in ("", "_b") if bidirectional else ("",):
            rates = torch.log(torch.arange(1, config.state_size + 1, dtype=torch.float32))
            self.register_parameter(_rates(suffix), nn.Parameter(rates.expand(inner, -1).clone()))
            self.register_parameter(f"D{suffix}", nn.Parameter(torch.ones(inner)))
            convolution = nn.Conv1d(inner, inner, config.conv_size, groups=inner)
            self.add_module(f"conv1d{suffix}", convolution)
            projection = nn.Linear(inner, config.step_rank + 2 * config.state_size, bias=False)
            self.add_module(f"x_proj{suffix}", projection)
            self.add_module(f"dt_proj{suffix}", nn.Linear(config.step_rank, inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, state: ScanState | None = None) -> tuple[Tensor, ScanState]:
        """Mix ``(sequences, length, embed_dim)`` along its length; one direction is causal.

        Args:
            x: The sequences.
            state: What was carried from the part of the sequences before; none at their start. Of one direction only.

        Returns:
            The mixed sequences, and what to carry to the next part.
        """
        values, gate = self.in_proj(x).chunk(2, dim=-1)
        mixed, carried = self._scan(values, "", state)
        if self.bidirectional:
            mixed = mixed + self._scan(values.flip(1), "_b", None)[0].flip(1)
        return self.out_proj(mixed * F.silu(gate)), carried

    def _scan(self, values: Tensor, suffix: str, state: ScanState | None) -> tuple[Tensor, ScanState]:
        convolution = self.get_submodule(f"conv1d{suffix}")
        assert isinstance(convolution, nn.Conv1d)
        # The last inputs before the sequence come first, zeros at its start, and nothing behind it: that is causal.
        columns = values.transpose(1, 2)
        before = columns.new_zeros(*columns.shape[:2], self.config.conv_size - 1) if state is None else state.inputs
        columns = torch.cat((before, columns), dim=2)
        x = F.silu(convolution(columns)).transpose(1, 2)
        size = self.config.state_size
        low, into, out = self.get_submodule(f"x_proj{suffix}")(x).split([self.config.step_rank, size, size], dim=-1)
        step = F.softplus(self.get_submodule(f"dt_proj{suffix}")(low))
        decay = -torch.exp(self.get_parameter(_rates(suffix)))
        read, hidden = selective_scan(x, step, decay, into, out, None if state is None else state.hidden)
        # A copy, so that the other columns are not kept alive.
        carried = ScanState(columns[:, :, values.shape[1] :].clone(), hidden)
        return read + self.get_parameter(f"D{suffix}") * x, carried


def _rates(suffix: str) -> str:
    return f"A{suffix}_log"


class MambaLayer(nn.Module):
    """Norm and mixer of one layer; the residual stream is the caller's."""

    def __init__(self, config: MambaConfig, *, bidirectional: bool) -> None:
        super().__init__()
        self.mixer = MambaMixer(config, bidirectional=bidirectional)
        self.norm = RmsNorm(config.embed_dim, config.layer_norm_eps)

    def forward(self, x: Tensor, state: ScanState | None = None) -> tuple[Tensor, ScanState]:
        """Return what the layer adds to the tokens ``(sequences, length, embed_dim)``, and what it carries on."""
        out: tuple[Tensor, ScanState] = self.mixer(self.norm(x), state)
        return out
