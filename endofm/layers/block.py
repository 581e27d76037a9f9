"""One divided space-time block: attention over time, then over space, then the MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.kernels.backend import PLAIN, Arithmetic, add, is_plain
from endofm.layers.attention import Attention
from endofm.layers.packing import Packing


def drop_path(x: Tensor, rate: float, *, axes: tuple[int, ...]) -> Tensor:
    """Drop whole slices of a residual branch at random and scale the kept ones by the keep rate.

    Args:
        x: Output of the branch.
        rate: Probability of dropping, in [0, 1).
        axes: Axes whose every index draws for itself; the other axes share the draw.
    """
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    keep = 1 - rate
    return x * (x.new_empty(shape).bernoulli_(keep) / keep)


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., embed_dim)`` to the same shape."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out

    def add_to(self, x: Tensor, normed: Tensor, arithmetic: Arithmetic) -> Tensor:
        """Return ``x`` plus the MLP of ``normed``, both ``(..., embed_dim)``."""
        return arithmetic.add(x, arithmetic.linear(normed, self.fc1, gelu=True), self.fc2)


class DividedSpaceTimeBlock(nn.Module):
    """Block of the divided space-time video transformer (TimeSformer, arXiv 2102.05095, section 3).

    The tokens are ``(time, batch, 1 + patches, embed_dim)``. Row 0 of every frame is the clip's class token, repeated:
    0.5 % more rows, and no concatenation or rearrangement anywhere in the block. All copies stay equal, because the
    block replaces what space attention gives them by its mean over frames.

    Adapters, which change the patch tokens alone, may be put at ``before_attention`` (over time) and ``before_mlp``.

    Args:
        config: Architecture.
        drop_path_rate: Stochastic depth of this block.
    """

    before_attention: nn.Module | None
    before_mlp: nn.Module | None

    def __init__(self, config: EncoderConfig, drop_path_rate: float) -> None:
        super().__init__()
        dim, eps = config.embed_dim, config.layer_norm_eps
        self.drop_path_rate = drop_path_rate
        self.temporal_norm1 = nn.LayerNorm(dim, eps=eps)
        self.temporal_attn = Attention(dim, config.num_heads, qkv_bias=config.qkv_bias)
        self.temporal_fc = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, config.num_heads, qkv_bias=config.qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, config.mlp_dim)
        self.before_attention = self.before_mlp = None

    def forward(self, x: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Run the whole block.

        Args:
            x: ``(time, batch, 1 + patches, embed_dim)``.
            arithmetic: How to multiply; without gradients something faster than the modules as they are.
        """
        x = self.attend_over_time(x, arithmetic)
        heads = self.attn.over_space(arithmetic.norm(self.norm1, x), arithmetic)
        if arithmetic.fuses_residual:
            x = arithmetic.add(x, heads, self.attn.proj)
            x[:, :, 0] = x[:, :, 0].mean(dim=0)
        else:
            r = self._drop(self.attn.proj(heads), axes=(0, 1))
            r[:, :, 0] = r[:, :, 0].mean(dim=0)
            x = add(x, r)
        if self.before_mlp is not None:
            x = self.before_mlp(x)
        if arithmetic.fuses_residual and type(self.mlp) is Mlp:
            return self.mlp.add_to(x, arithmetic.norm(self.norm2, x), arithmetic)
        return add(x, self._drop(self.mlp(self.norm2(x)), axes=(1,)))

    def forward_cls(self, x: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Run the block for the class token only, ``(batch, embed_dim)``; equal to ``forward(x)[0, :, 0]``.

        With one query per clip, keys and values need not be formed: a score is ``x . (Wk^T q)``, the key bias cancels
        in the softmax, and the values' map and the mean over frames commute with the weighted sum. That leaves one
        column per head instead of two full projections, and the MLP sees one token. An adapter before the MLP does not
        change the class token, so it is left out.
        """
        dropping = self.training and self.drop_path_rate > 0
        if not is_plain(self.attn.qkv) or (dropping and not is_plain(self.attn.proj)):
            return self.forward(x, arithmetic)[0, :, 0]
        return self._class_token(self.attend_over_time(x, arithmetic))

    def _class_token(self, x: Tensor) -> Tensor:
        """Do what :meth:`forward_cls` does after the temporal step."""
        dropping = self.training and self.drop_path_rate > 0
        c = x[0, :, 0]  # B D
        n = self.norm1(x)  # T B N D
        heads, head_dim, dim = self.attn.num_heads, self.attn.head_dim, c.shape[-1]
        w_q, w_k, w_v = self.attn.qkv.weight.view(3, heads, head_dim, dim).unbind(0)
        bias = self.attn.qkv.bias
        q = torch.einsum("bd,hed->bhe", n[0, :, 0], w_q)
        if bias is not None:
            q = q + bias.view(3, heads, head_dim)[0]
        key = torch.einsum("bhe,hed->bdh", q * head_dim**-0.5, w_k)
        weights = (n @ key).softmax(dim=2)  # T B N H
        share: Tensor | float = 1.0
        if dropping:  # whole frames, each with its part of the biases
            kept = self._drop(x.new_ones(len(x), len(c), 1, 1), axes=(0, 1))  # T B 1 1
            weights, share = weights * kept, kept.mean(dim=0).flatten(1)  # share: B 1
        pooled = torch.einsum("tbnh,tbnd->bhd", weights, n) / len(n)
        out = torch.einsum("bhd,hed->bhe", pooled, w_v).flatten(1)
        if bias is not None:
            out = out + bias[-dim:] * share
        c = c + self.attn.proj(out)
        if dropping:
            c = c + self.attn.proj.bias * (share - 1)
        result: Tensor = c + self._drop(self.mlp(self.norm2(c)), axes=(0,))
        return result

    def forward_packed(self, rows: Tensor, packing: Packing) -> Tensor:
        """Run the block on several grids at once, in training; equal to :meth:`forward` on each.

        Args:
            rows: ``(rows, embed_dim)``; only attention, stochastic depth and class tokens look at the grids in it.
            packing: Where each grid lies.
        """
        if self.before_attention is not None or self.before_mlp is not None:
            return packing.join([self.forward(grid) for grid in packing.split(rows)])
        rows = self._attend_over_time_packed(rows, packing)
        qkv = self.attn.qkv(self.norm1(rows))
        heads = packing.join([self.attn.space_heads(part) for part in packing.split(qkv)])
        r = self._drop_packed(self.attn.proj(heads), packing, axes=(0, 1))
        copies = packing.split_class_rows(r.index_select(0, packing.class_rows))
        means = [part.mean(dim=0, keepdim=True).expand_as(part).flatten(0, 1) for part in copies]
        rows = add(rows, r.index_copy_(0, packing.class_rows, torch.cat(means)))
        return add(rows, self._drop_packed(self.mlp(self.norm2(rows)), packing, axes=(1,)))

    def forward_cls_packed(self, rows: Tensor, packing: Packing) -> Tensor:
        """Return the class token of every clip of several grids, ``(clips, embed_dim)``; see :meth:`forward_cls`."""
        plain = is_plain(self.attn.qkv) and is_plain(self.attn.proj)
        if self.before_attention is not None or self.before_mlp is not None or not plain:
            return torch.cat([self.forward_cls(grid) for grid in packing.split(rows)])
        rows = self._attend_over_time_packed(rows, packing)
        return torch.cat([self._class_token(grid) for grid in packing.split(rows)])

    def _attend_over_time_packed(self, rows: Tensor, packing: Packing) -> Tensor:
        qkv = self.temporal_attn.qkv(self.temporal_norm1(rows))
        heads = packing.join([self.temporal_attn.time_heads(part) for part in packing.split(qkv)])
        r = self.temporal_fc(self._drop_packed(self.temporal_attn.proj(heads), packing, axes=(1, 2)))
        return add(rows, r.index_fill_(0, packing.class_rows, 0))

    def _drop_packed(self, rows: Tensor, packing: Packing, *, axes: tuple[int, ...]) -> Tensor:
        if not self.training or self.drop_path_rate == 0:
            return rows
        ones = [rows.new_ones(1).expand(*shape, 1) for shape in packing.shapes]
        return rows * packing.join([self._drop(part, axes=axes) for part in ones])

    def attend_over_time(self, x: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Run the temporal step, in which the class token takes no part."""
        if self.before_attention is not None:
            x = self.before_attention(x)
        heads = self.temporal_attn.over_time(arithmetic.norm(self.temporal_norm1, x), arithmetic)
        if arithmetic.fuses_residual:
            out = arithmetic.add(x, heads, self.temporal_attn.proj, self.temporal_fc)
            out[:, :, 0] = x[:, :, 0]
            return out
        # The branch is dropped before the last linear layer, whose bias is therefore always added: as published.
        r = self.temporal_fc(self._drop(self.temporal_attn.proj(heads), axes=(1, 2)))
        r[:, :, 0] = 0
        return add(x, r)

    def spatial_attention(self, x: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Return the softmax weights of the spatial step, ``(time, batch, heads, 1 + patches, 1 + patches)``."""
        return self.attn.spatial_weights(self.norm1(self.attend_over_time(x, arithmetic)))

    def _drop(self, x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
        if self.training and self.drop_path_rate > 0:
            return drop_path(x, self.drop_path_rate, axes=axes)
        return x
