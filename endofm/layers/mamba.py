"""Selective state spaces (Mamba, arXiv 2312.00752) in one or two directions, in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.config.mamba_config import MambaConfig

_CHUNK = 64
"""Steps whose decays and inputs are in memory at once; they take as many values per step as all states together."""


class RmsNorm(nn.Module):
    """Division by the root of the mean square, and a gain per channel."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(..., dim)``."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def selective_scan(x: Tensor, step: Tensor, decay: Tensor, into: Tensor, out: Tensor) -> Tensor:
    """Run ``h = exp(step * decay) * h + step * x * into`` from ``h = 0`` and read ``sum(h * out)`` at every step.

    Args:
        x: Input, ``(sequences, length, channels)``.
        step: Step sizes, of the same shape.
        decay: Negative rates, ``(channels, state)``.
        into: Weights of the input, ``(sequences, length, state)``.
        out: Weights of the output, of the same shape.

    Returns:
        ``(sequences, length, channels)``.
    """
    state = x.new_zeros(x.shape[0], x.shape[2], decay.shape[1])
    outputs = []
    for first in range(0, x.shape[1], _CHUNK):
        part = slice(first, first + _CHUNK)
        kept = torch.exp(step[:, part, :, None] * decay)
        added = (step[:, part] * x[:, part]).unsqueeze(-1) * into[:, part, None]
        states = []
        for index in range(kept.shape[1]):
            state = torch.addcmul(added[:, index], kept[:, index], state)
            states.append(state)
        outputs.append(torch.einsum("slcn,sln->slc", torch.stack(states, dim=1), out[:, part]))
    return torch.cat(outputs, dim=1)


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
            convolution = nn.Conv1d(inner, inner, config.conv_size, groups=inner, padding=config.conv_size - 1)
            self.add_module(f"conv1d{suffix}", convolution)
            projection = nn.Linear(inner, config.step_rank + 2 * config.state_size, bias=False)
            self.add_module(f"x_proj{suffix}", projection)
            self.add_module(f"dt_proj{suffix}", nn.Linear(config.step_rank, inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``(sequences, length, embed_dim)`` along its length; one direction is causal."""
        values, gate = self.in_proj(x).chunk(2, dim=-1)
        mixed = self._scan(values, "")
        if self.bidirectional:
            mixed = mixed + self._scan(values.flip(1), "_b").flip(1)
        out: Tensor = self.out_proj(mixed * F.silu(gate))
        return out

    def _scan(self, values: Tensor, suffix: str) -> Tensor:
        # Padded on both sides by the layer; what lies behind the last step is cut off, which makes it causal.
        convolved = self.get_submodule(f"conv1d{suffix}")(values.transpose(1, 2))[..., : values.shape[1]]
        x = F.silu(convolved).transpose(1, 2)
        state = self.config.state_size
        low, into, out = self.get_submodule(f"x_proj{suffix}")(x).split([self.config.step_rank, state, state], dim=-1)
        step = F.softplus(self.get_submodule(f"dt_proj{suffix}")(low))
        decay = -torch.exp(self.get_parameter(_rates(suffix)))
        return selective_scan(x, step, decay, into, out) + self.get_parameter(f"D{suffix}") * x


def _rates(suffix: str) -> str:
    return f"A{suffix}_log"


class MambaLayer(nn.Module):
    """Norm and mixer of one layer; the residual stream is the caller's."""

    def __init__(self, config: MambaConfig, *, bidirectional: bool) -> None:
        super().__init__()
        self.mixer = MambaMixer(config, bidirectional=bidirectional)
        self.norm = RmsNorm(config.embed_dim, config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer adds to the tokens ``(sequences, length, embed_dim)``."""
        out: Tensor = self.mixer(self.norm(x))
        return out
