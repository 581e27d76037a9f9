"""How the layers of a block are multiplied: as they are, or as inference can do it faster.

A block asks an :class:`Arithmetic` for its products, and so is written once. :data:`PLAIN` calls the modules; the
others work from copies of the weights in another form (two linear maps as one, packed for the processor, another
number type), made once and made again when a parameter changes. Only layers that are ``nn.Linear`` and nothing else
are treated so: one that was replaced (an adapter) or is watched by a hook is called as the module that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.kernels import native_attention as compiled_attention
from endofm.kernels.torch_attention import SHORT, matmul_attention, short_attention
from endofm.kernels.weight_cache import WeightCache

_LARGE = 2**25
"""Bytes from which memory is mapped and cleared anew at every request (the upper limit of glibc's threshold)."""


class Arithmetic:
    """The modules as they are: with gradients, on every device, in every type."""

    fuses_residual = False
    """Whether :meth:`add` is free to round differently from adding a branch that was finished before."""

    def parts(self, x: Tensor, width: int) -> Sequence[Tensor]:
        """Return tokens ``(time, batch, tokens, embed_dim)`` in batches that are best worked off by themselves.

        Args:
            x: Tokens of all clips.
            width: Channels of the widest intermediate result of a token.
        """
        return (x,)

    def norm(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Normalise the stream, in the type that :meth:`linear` likes best."""
        out: Tensor = layer(x)
        return out

    def linear(self, x: Tensor, *layers: nn.Module, gelu: bool = False) -> Tensor:
        """Apply linear layers, one after the other, and then an exact (erf) GELU if asked for.

        Args:
            x: ``(..., width)``.
            layers: One linear layer, or several with nothing between them.
            gelu: Apply the GELU.
        """
        for layer in layers:
            x = layer(x)
        return F.gelu(x) if gelu else x

    def add(self, x: Tensor, branch: Tensor, *layers: nn.Module) -> Tensor:
        """Return ``x`` plus the linear layers applied to ``branch``, as new memory in the type of ``x``."""
        return add(x, self.linear(branch, *layers))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend, ``(sequences, heads, tokens, head_dim)`` each."""
        if q.dtype is torch.bfloat16 and q.device.type == "cpu":
            # Backward through the fused kernel took 3 to 10 times as long as through these two products.
            weights: Tensor = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
            return weights @ v
        return F.scaled_dot_product_attention(q, k, v)


PLAIN = Arithmetic()
"""The modules as they are."""


class Weights(NamedTuple):
    """A linear map in the form in which it is multiplied: ``y = x @ weight.T + bias``.

    Attributes:
        weight: In whatever order and type.
        bias: One value per output channel, or None.
        scale: What the weight of each output channel is to be multiplied with; None if nothing.
    """

    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None = None


class Inference(Arithmetic):
    """Products without gradients: linear layers in a row become one, in another floating-point type if asked for.

    The stream of tokens keeps its type; norms and sums are worked out in that.

    Args:
        dtype: Type of the products; that of the parameters if None.
    """

    fuses_residual = True

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self._dtype = dtype
        self._cache = WeightCache()

    def parts(self, x: Tensor, width: int) -> Sequence[Tensor]:
        """Return batches whose intermediate results stay small enough for a processor's memory to be used again."""
        if x.device.type != "cpu":
            return (x,)
        clip_bytes = x.shape[0] * x.shape[2] * width * (self._dtype or x.dtype).itemsize
        count = -(-x.shape[1] // max(1, _LARGE // clip_bytes))
        return (x,) if count <= 1 else [part.contiguous() for part in x.tensor_split(count, dim=1)]

    def norm(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Normalise in the type of the stream and round to that of the products."""
        return super().norm(layer, x).to(self._dtype or x.dtype)

    def linear(self, x: Tensor, *layers: nn.Module, gelu: bool = False) -> Tensor:
        """Apply linear layers as one."""
        weights = self._prepared(layers)
        if weights is None:
            return self._as_they_are(x, layers, gelu=gelu)
        return self.multiply(x, weights, gelu=gelu)

    def add(self, x: Tensor, branch: Tensor, *layers: nn.Module) -> Tensor:
        """Return ``x`` plus the linear layers applied to ``branch``."""
        weights = self._prepared(layers)
        if weights is None:
            return add(x, self._as_they_are(branch, layers, gelu=False))
        return self.multiply_add(x, branch, weights)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend with the kernel that is fastest for the device and the type; may write over ``q``."""
        if compiled_attention.fits(q, k, v):
            return compiled_attention.attend(q, k, v)
        if q.device.type == "cpu" and q.dtype is torch.bfloat16:
            return matmul_attention(q.mul_(q.shape[-1] ** -0.5), k, v)
        if q.device.type == "cpu" and q.dtype is torch.float32 and q.shape[2] <= SHORT:
            return short_attention(q, k, v)
        return super().attend(q, k, v)

    def multiply(self, x: Tensor, weights: Weights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``, with a GELU if asked for."""
        out = F.linear(x, weights.weight, weights.bias)
        return F.gelu(out) if gelu else out

    def multiply_add(self, x: Tensor, branch: Tensor, weights: Weights) -> Tensor:
        """Return ``x + branch @ weight.T + bias``."""
        return add(x, self.multiply(branch, weights, gelu=False))

    def prepare(self, weight: Tensor, bias: Tensor | None) -> Weights:
        """Bring a linear map, in the type of its parameters or in float64, into the form of :meth:`multiply`."""
        return Weights(weight.to(self._dtype), None if bias is None else bias.to(self._dtype))

    def _prepared(self, layers: Sequence[nn.Module]) -> Weights | None:
        """Return the layers as one map; None if that would bypass something, or could not follow a change."""
        if not all(is_plain(layer) for layer in layers):
            return None
        parameters = [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
        return self._cache.get(layers[-1], parameters, lambda: self._compose(layers))  # type: ignore[arg-type]

    def _compose(self, layers: Sequence[nn.Linear]) -> Weights:
        first, *others = layers
        dtype = first.weight.dtype
        weight, bias = first.weight.detach(), None if first.bias is None else first.bias.detach()
        for layer in others:  # in float64, so that folding is exact up to the final rounding
            w = layer.weight.detach().double()
            bias = None if bias is None else w @ bias.double()
            if layer.bias is not None:
                bias = layer.bias.detach().double() + (0 if bias is None else bias)
            weight = w @ weight.double()
        if others:
            weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        return self.prepare(weight, bias)

    def _as_they_are(self, x: Tensor, layers: Sequence[nn.Module], *, gelu: bool) -> Tensor:
        for layer in layers:
            own = next((p.dtype for p in layer.parameters() if p.is_floating_point()), x.dtype)
            x = layer(x.to(own))
        return (F.gelu(x) if gelu else x).to(self._dtype or x.dtype)


def is_plain(layer: nn.Module) -> bool:
    """Return whether calling this module is ``x @ weight.T + bias`` and nothing else."""
    return type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks


def add(x: Tensor, branch: Tensor) -> Tensor:
    """Add a residual branch, reusing its memory where no gradient needs it and it has the stream's precision."""
    if torch.is_grad_enabled():
        return x + branch
    return branch.add_(x) if branch.dtype == x.dtype else branch.to(x.dtype).add_(x)
