"""Compute backends: how the layers of a transformer block are multiplied.

A block asks a :class:`Backend` for its products and is therefore written once. :data:`EAGER` calls the modules; the
other backends compute from copies of the weights in another form (two linear maps folded into one, reordered for the
processor, another number type), made at the first call and made again when a parameter changes. Only layers that are
``nn.Linear`` and nothing else are treated this way: a layer that was replaced (an adapter) or has a hook is called as
the module it is. Products in 8-bit integers are in :mod:`endofm.kernels.int8`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.kernels import native
from endofm.kernels.composed_attention import SHORT, matmul_attention, short_attention

_LARGE = 2**25
"""Bytes from which glibc maps and clears memory at every request (the upper limit of its dynamic threshold)."""

TYPICAL_ROWS = 1568
"""Rows of input for which oneDNN chooses the order of the weights: the tokens of one clip. Any other number works."""


class Backend:
    """The modules themselves: with gradients, on every device, in every type."""

    fuses_residual = False
    """Whether :meth:`add` may round differently from computing the branch first and adding it afterwards."""

    def split_batch(self, x: Tensor, width: int) -> Sequence[Tensor]:
        """Return tokens ``(time, batch, tokens, embed_dim)`` in the batches in which they are processed fastest.

        Args:
            x: Tokens of all clips.
            width: Channels of the widest intermediate result of a token.
        """
        return (x,)

    def norm(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Normalise the residual stream and return it in the type that :meth:`linear` prefers."""
        out: Tensor = layer(x)
        return out

    def linear(self, x: Tensor, *layers: nn.Module, gelu: bool = False) -> Tensor:
        """Apply linear layers one after the other, then an exact (erf) GELU if requested.

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
        return add_residual(x, self.linear(branch, *layers))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Scaled dot-product attention; ``(sequences, heads, tokens, head_dim)`` each."""
        if q.dtype is torch.bfloat16 and q.device.type == "cpu":
            # Backward through the fused kernel took 3 to 10 times as long as through these two products.
            weights: Tensor = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
            return weights @ v
        return F.scaled_dot_product_attention(q, k, v)


EAGER = Backend()
"""Calls the modules; the only backend that records gradients."""


class LinearWeights(NamedTuple):
    """A linear map ``y = x @ weight.T + bias`` in the form in which a backend multiplies it.

    Attributes:
        weight: In the backend's order and type.
        bias: One value per output channel, or None.
        scale: Factor of each output channel's weight, for weights stored as integers; otherwise None.
    """

    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None = None


class FoldedBackend(Backend):
    """Products without gradients: consecutive linear layers folded into one, in another type if requested.

    The residual stream keeps its type; norms and sums are computed in that type.

    Args:
        dtype: Type of the products; that of the parameters if None.
    """

    fuses_residual = True

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self._dtype = dtype
        self._cache = WeightCache()

    def split_batch(self, x: Tensor, width: int) -> Sequence[Tensor]:
        """Return batches whose intermediate results are small enough for the allocator to reuse their memory."""
        if x.device.type != "cpu":
            return (x,)
        # Above _LARGE every intermediate result costs page faults for memory that the kernel maps and clears.
        clip_bytes = x.shape[0] * x.shape[2] * width * (self._dtype or x.dtype).itemsize
        count = -(-x.shape[1] // max(1, _LARGE // clip_bytes))
        return (x,) if count <= 1 else [part.contiguous() for part in x.tensor_split(count, dim=1)]

    def norm(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Normalise in the type of the residual stream and round to the type of the products."""
        return super().norm(layer, x).to(self._dtype or x.dtype)

    def linear(self, x: Tensor, *layers: nn.Module, gelu: bool = False) -> Tensor:
        """Apply linear layers as a single one."""
        weights = self._fold(layers)
        if weights is None:
            return self._call_modules(x, layers, gelu=gelu)
        return self.multiply(x, weights, gelu=gelu)

    def add(self, x: Tensor, branch: Tensor, *layers: nn.Module) -> Tensor:
        """Return ``x`` plus the linear layers applied to ``branch``."""
        weights = self._fold(layers)
        if weights is None:
            return add_residual(x, self._call_modules(branch, layers, gelu=False))
        return self.multiply_add(x, branch, weights)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend with the fastest kernel for the device and the type; may overwrite ``q``."""
        if native.attention_fits(q, k, v):
            return native.attend(q, k, v)
        if q.device.type == "cpu" and q.dtype is torch.bfloat16:
            return matmul_attention(q.mul_(q.shape[-1] ** -0.5), k, v)
        # Attention over time has as many tokens as a clip has frames: many sequences, each of a few tokens.
        if q.device.type == "cpu" and q.dtype is torch.float32 and q.shape[2] <= SHORT:
            return short_attention(q, k, v)
        return super().attend(q, k, v)

    def multiply(self, x: Tensor, weights: LinearWeights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``, followed by a GELU if requested."""
        out = F.linear(x, weights.weight, weights.bias)
        return F.gelu(out) if gelu else out

    def multiply_add(self, x: Tensor, branch: Tensor, weights: LinearWeights) -> Tensor:
        """Return ``x + branch @ weight.T + bias``."""
        return add_residual(x, self.multiply(branch, weights, gelu=False))

    def prepare(self, weight: Tensor, bias: Tensor | None) -> LinearWeights:
        """Convert a linear map, in the type of its parameters, to the form that :meth:`multiply` takes."""
        return LinearWeights(weight.to(self._dtype), None if bias is None else bias.to(self._dtype))

    def _fold(self, layers: Sequence[nn.Module]) -> LinearWeights | None:
        """Return consecutive layers as one linear map; None if their modules have to be called instead."""
        # Weights bypass whatever else a layer does (hooks, adapters), so a layer with anything else is called.
        if not all(is_plain_linear(layer) for layer in layers):
            return None
        parameters = [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
        return self._cache.get(layers[-1], parameters, lambda: self._compose(layers))  # type: ignore[arg-type]

    def _compose(self, layers: Sequence[nn.Linear]) -> LinearWeights:
        first, *others = layers
        dtype = first.weight.dtype
        weight, bias = first.weight.detach(), None if first.bias is None else first.bias.detach()
        # Two linear maps in a row are one: W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2).
        # Computed in float64, the fold is exact up to one final rounding.
        for layer in others:
            w = layer.weight.detach().double()
            bias = None if bias is None else w @ bias.double()  # W2 b1
            if layer.bias is not None:
                bias = layer.bias.detach().double() + (0 if bias is None else bias)  # ... + b2
            weight = w @ weight.double()  # W2 W1
        if others:
            weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        return self.prepare(weight, bias)

    def _call_modules(self, x: Tensor, layers: Sequence[nn.Module], *, gelu: bool) -> Tensor:
        for layer in layers:
            # A module computes in its parameters' type, which may differ from the type of the products.
            dtype = next((p.dtype for p in layer.parameters() if p.is_floating_point()), x.dtype)
            x = layer(x.to(dtype))
        return (F.gelu(x) if gelu else x).to(self._dtype or x.dtype)


class OneDnnBackend(FoldedBackend):
    """Float32 and bfloat16 products on the CPU through oneDNN, with weights in the processor's own order.

    GELU and float32 residual are applied while the result is in registers. PyTorch has these products for its compiler,
    under private names that may change or disappear; :func:`can_prepack` tries them.

    Args:
        dtype: ``torch.float32`` or ``torch.bfloat16``, if :func:`can_prepack` returns True for it.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype)

    def prepare(self, weight: Tensor, bias: Tensor | None) -> LinearWeights:
        """Reorder the weights."""
        weight, bias, _ = super().prepare(weight, bias)
        return LinearWeights(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), TYPICAL_ROWS), bias)

    def multiply(self, x: Tensor, weights: LinearWeights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``, followed by a GELU if requested."""
        rows = x.reshape(-1, x.shape[-1])
        # The operator applies a pointwise function by name; "none" as algorithm is the exact GELU, not the tanh one.
        pointwise, algorithm = ("gelu", "none") if gelu else ("none", "")
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weights.weight, weights.bias, pointwise, [], algorithm)
        return out.view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: LinearWeights) -> Tensor:
        """Return ``x + branch @ weight.T + bias``."""
        # The fused sum would be rounded to the branch's type; a float32 stream over bfloat16 products is added apart.
        if x.dtype != branch.dtype:
            return add_residual(x, self.multiply(branch, weights, gelu=False))
        rows, residual = branch.reshape(-1, branch.shape[-1]), x.reshape(-1, x.shape[-1])
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, residual, weights.weight, weights.bias, "add")
        return out.view(x.shape)


@lru_cache
def can_prepack(dtype: torch.dtype) -> bool:
    """Return whether this build of PyTorch prepacks weights of a type on this processor and multiplies them.

    Tried once per process and type; where it does not, :class:`FoldedBackend` computes the same with public operators.
    """
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # One small product each way, compared with public operators: private operators may be gone, or changed in meaning.
    x, residual, weight, bias = (torch.linspace(-1, 1, n * 32, dtype=torch.float32).sin() for n in (3, 3, 32, 1))
    x, residual, weight = x.view(3, 32).to(dtype), residual.view(3, 32).to(dtype), weight.view(32, 32)
    expected = F.linear(x.float(), weight, bias)
    try:
        backend = OneDnnBackend(dtype)
        weights = backend.prepare(weight, bias)
        results = backend.multiply(x, weights, gelu=True), backend.multiply_add(residual, x, weights)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    tolerance = 1e-5 if dtype is torch.float32 else 0.1
    pairs = zip(results, (F.gelu(expected), residual.float() + expected), strict=True)
    return all(a.dtype == dtype and bool((a.float() - b).abs().max() < tolerance) for a, b in pairs)


class WeightCache:
    """Weights in a backend's form, one entry per layer; never part of a state dict, a copy or a pickle.

    A changed parameter is recognised by its version counter, memory address, type and device. Writing through
    ``parameter.data`` changes none of the four; on the CPU a few values of each parameter are therefore compared too.
    """

    def __init__(self) -> None:
        # Keyed weakly: the entry of a layer disappears with the layer.
        self._entries: WeakKeyDictionary[nn.Module, tuple[object, LinearWeights]] = WeakKeyDictionary()

    def get(
        self, owner: nn.Module, parameters: Sequence[Tensor], make: Callable[[], LinearWeights]
    ) -> LinearWeights | None:
        """Return the entry of a layer, computing it if there is none or if a parameter has changed.

        Args:
            owner: Layer that the entry belongs to.
            parameters: All parameters that ``make`` reads.
            make: Computes the entry.

        Returns:
            None for parameters created in inference mode: they have no version counter, so a change could go
            unnoticed.
        """
        if any(p.is_inference() for p in parameters):
            return None
        key = tuple((p.data_ptr(), p._version, p.dtype, p.device, _sample_values(p)) for p in parameters)
        entry = self._entries.get(owner)
        if entry is None or entry[0] != key:
            entry = key, make()
            self._entries[owner] = entry
        return entry[1]

    def __len__(self) -> int:
        return len(self._entries)

    # A copied or unpickled model has other parameters, so it starts with an empty cache.
    def __deepcopy__(self, memo: dict[int, Any]) -> WeightCache:
        return WeightCache()

    def __reduce__(self) -> tuple[type[WeightCache], tuple[()]]:
        return WeightCache, ()


def _sample_values(parameter: Tensor) -> tuple[float, ...]:
    """Return a few values spread over a parameter in main memory; nothing on other devices, where reading waits."""
    if parameter.device.type != "cpu" or not parameter.is_contiguous():
        return ()
    flat = parameter.detach().view(-1)
    step = max(flat.numel() // 4, 1)
    return tuple(flat[::step].tolist())


def is_plain_linear(layer: nn.Module) -> bool:
    """Return whether calling a module computes ``x @ weight.T + bias`` and nothing else."""
    return type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks


def add_residual(x: Tensor, branch: Tensor) -> Tensor:
    """Add a residual branch, in place where no gradient needs the branch and it has the stream's precision."""
    if torch.is_grad_enabled():
        return x + branch
    return branch.add_(x) if branch.dtype == x.dtype else branch.to(x.dtype).add_(x)
