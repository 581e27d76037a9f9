"""Transformer blocks over the token grid of a clip, with their attention and MLP, and its tables of positions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.config import EncoderConfig, ViTConfig
from endofm.config.model_config import TableResize
from endofm.kernels.backend import EAGER, Backend, add_residual, is_plain_linear
from endofm.layers.packing import Packing

Rotate = Callable[[Tensor], Tensor]


def drop_path(x: Tensor, rate: float, *, axes: tuple[int, ...]) -> Tensor:
    """Drop slices of a residual branch at random and scale the others by one over the keep rate.

    Args:
        x: Output of the branch.
        rate: Probability of dropping a slice, in [0, 1).
        axes: Axes along which every index is drawn independently; the other axes share the draw.
    """
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    keep = 1 - rate
    return x * (x.new_empty(shape).bernoulli_(keep) / keep)


class Attention(nn.Module):
    """Multi-head self-attention along one axis of a token grid, with a fused query-key-value projection.

    Tokens come as a grid ``(time, batch, tokens, embed_dim)``. With time as the leading axis, attention over space and
    attention over time are both plain views of the projected tokens, so nothing is copied between the two.

    Args:
        embed_dim: Width of the tokens.
        num_heads: Number of heads; divides ``embed_dim``.
        qkv_bias: Whether the fused projection has a bias.
    """

    def __init__(self, embed_dim: int, num_heads: int, *, qkv_bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def over_space(self, x: Tensor, backend: Backend = EAGER, rotation: Rotate | None = None) -> Tensor:
        """Attend among the tokens of each frame.

        Args:
            x: ``(time, batch, tokens, embed_dim)``.
            backend: How to multiply.
            rotation: Rotates queries and keys ``(sequences, heads, tokens, head_dim)`` by their positions.

        Returns:
            Concatenated heads before the output projection, of the same shape.
        """
        return self.space_heads(backend.linear(x, self.qkv), backend, rotation)

    def space_heads(self, qkv: Tensor, backend: Backend = EAGER, rotation: Rotate | None = None) -> Tensor:
        """Continue :meth:`over_space` from the projection ``(time, batch, tokens, 3 * embed_dim)``."""
        time, batch, tokens, _ = qkv.shape
        qkv = qkv.view(time * batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (T B) H N d
        if rotation is not None:
            q, k = rotation(q), rotation(k)
        heads = backend.attend(q, k, v)
        return heads.transpose(1, 2).reshape(time, batch, tokens, -1)

    def over_time(self, x: Tensor, backend: Backend = EAGER) -> Tensor:
        """Attend among the tokens at the same position of all frames.

        Args:
            x: ``(time, batch, tokens, embed_dim)``.
            backend: How to multiply.

        Returns:
            Concatenated heads before the output projection, of the same shape.
        """
        return self.time_heads(backend.linear(x, self.qkv), backend)

    def time_heads(self, qkv: Tensor, backend: Backend = EAGER) -> Tensor:
        """Continue :meth:`over_time` from the projection ``(time, batch, tokens, 3 * embed_dim)``."""
        time, batch, tokens, _ = qkv.shape
        qkv = qkv.view(time, batch * tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 1, 3, 0, 4).unbind(0)  # each (B N) H T d
        heads = backend.attend(q, k, v)
        return heads.permute(2, 0, 1, 3).reshape(time, batch, tokens, -1)

    def spatial_weights(self, x: Tensor) -> Tensor:
        """Return the softmax weights of :meth:`over_space`, ``(time, batch, heads, tokens, tokens)``."""
        time, batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(time, batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, _ = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)  # each T B H N d
        weights: Tensor = (q * self.head_dim**-0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        return weights


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

    def add_to(self, x: Tensor, normed: Tensor, backend: Backend) -> Tensor:
        """Return ``x`` plus the MLP of ``normed``, both ``(..., embed_dim)``."""
        return backend.add(x, backend.linear(normed, self.fc1, gelu=True), self.fc2)


class _Block(nn.Module):
    """Common part of the two blocks: attention within a frame, MLP, stochastic depth, slots for adapters.

    Adapters, which change only the patch tokens, are put into ``before_attention`` and ``before_mlp``.
    """

    before_attention: nn.Module | None
    before_mlp: nn.Module | None

    def __init__(self, drop_path_rate: float) -> None:
        super().__init__()
        self.drop_path_rate = drop_path_rate
        self.before_attention = self.before_mlp = None

    def _add_space_layers(self, config: ViTConfig) -> None:
        # Each block calls this last: the order of the layers is that of the published weights, and of random draws.
        dim, eps = config.embed_dim, config.layer_norm_eps
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, config.num_heads, qkv_bias=config.qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, config.mlp_dim)

    def _add_mlp(self, x: Tensor, backend: Backend, *, axes: tuple[int, ...]) -> Tensor:
        """Return ``x`` plus the MLP branch, which stochastic depth drops along some axes."""
        if self.before_mlp is not None:
            x = self.before_mlp(x)
        # A replaced MLP is called as the module it is.
        if backend.fuses_residual and type(self.mlp) is Mlp:
            return self.mlp.add_to(x, backend.norm(self.norm2, x), backend)
        return add_residual(x, self._drop(self.mlp(self.norm2(x)), axes=axes))

    def _drop(self, x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
        if self.training and self.drop_path_rate > 0:
            return drop_path(x, self.drop_path_rate, axes=axes)
        return x


class SpaceBlock(_Block):
    """Pre-norm block of a vision transformer (arXiv 2010.11929): attention within a frame, then the MLP.

    The tokens are ``(time, batch, 1 + patches, embed_dim)``; every frame has its own class token. Frames exchange no
    information unless there are adapters in ``before_attention`` or ``before_mlp``.

    Args:
        config: Architecture.
        drop_path_rate: Stochastic depth of this block, drawn for every frame.
    """

    def __init__(self, config: ViTConfig, drop_path_rate: float) -> None:
        super().__init__(drop_path_rate)
        self._add_space_layers(config)

    def forward(self, x: Tensor, backend: Backend = EAGER, rotation: Rotate | None = None) -> Tensor:
        """Run the block.

        Args:
            x: ``(time, batch, 1 + patches, embed_dim)``.
            backend: How to multiply.
            rotation: As for :meth:`Attention.over_space`.
        """
        if self.before_attention is not None:
            x = self.before_attention(x)
        heads = self.attn.over_space(backend.norm(self.norm1, x), backend, rotation)
        if backend.fuses_residual:
            x = backend.add(x, heads, self.attn.proj)
        else:
            x = add_residual(x, self._drop(self.attn.proj(heads), axes=(0, 1)))
        return self._add_mlp(x, backend, axes=(0, 1))


class DividedSpaceTimeBlock(_Block):
    """Block of the divided space-time video transformer (TimeSformer, arXiv 2102.05095, section 3).

    Attention over time, then over space, then the MLP. The tokens are ``(time, batch, 1 + patches, embed_dim)``. Row 0
    of every frame is the clip's class token, repeated: 0.5 % more rows, and no concatenation or rearrangement anywhere
    in the block. All copies stay equal, because the block replaces the result of space attention for them by its mean
    over frames.

    Args:
        config: Architecture.
        drop_path_rate: Stochastic depth of this block.
    """

    def __init__(self, config: EncoderConfig, drop_path_rate: float) -> None:
        super().__init__(drop_path_rate)
        dim = config.embed_dim
        self.temporal_norm1 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.temporal_attn = Attention(dim, config.num_heads, qkv_bias=config.qkv_bias)
        self.temporal_fc = nn.Linear(dim, dim)
        self._add_space_layers(config)

    def forward(self, x: Tensor, backend: Backend = EAGER) -> Tensor:
        """Run the block on all tokens.

        Args:
            x: ``(time, batch, 1 + patches, embed_dim)``.
            backend: How to multiply; without gradients something faster than :data:`~endofm.kernels.backend.EAGER`.
        """
        x = self.attend_over_time(x, backend)
        heads = self.attn.over_space(backend.norm(self.norm1, x), backend)
        if backend.fuses_residual:
            x = backend.add(x, heads, self.attn.proj)
            # The copies c of the class token were equal, so the mean of c + r_t over frames is c + mean(r_t).
            x[:, :, 0] = x[:, :, 0].mean(dim=0)
        else:
            r = self._drop(self.attn.proj(heads), axes=(0, 1))
            # One class token per clip: it receives the mean over frames of what space attention gives its copies.
            r[:, :, 0] = r[:, :, 0].mean(dim=0)
            x = add_residual(x, r)
        return self._add_mlp(x, backend, axes=(1,))

    def forward_cls(self, x: Tensor, backend: Backend = EAGER) -> Tensor:
        """Run the block for the class token only, ``(batch, embed_dim)``; equal to ``forward(x)[0, :, 0]``.

        For the last block of an encoder whose patch tokens are not needed: keys and values need not be formed, and the
        MLP runs on one token per clip. An adapter before the MLP does not change the class token, so it is left out.
        """
        # The shortcut reads weights, so layers with anything else (hooks, adapters) need the full block.
        dropping = self.training and self.drop_path_rate > 0
        if not is_plain_linear(self.attn.qkv) or (dropping and not is_plain_linear(self.attn.proj)):
            return self.forward(x, backend)[0, :, 0]
        return self._class_token(self.attend_over_time(x, backend))

    def forward_packed(self, rows: Tensor, packing: Packing) -> Tensor:
        """Run the block on several grids at once, in training; equal to :meth:`forward` on each.

        Args:
            rows: ``(rows, embed_dim)``. Norms, linear layers and the MLP act on each row alone and run once for all
                grids; attention, stochastic depth and class tokens need the grids.
            packing: Position of each grid in the rows.
        """
        # Adapters convolve over a grid.
        if self.before_attention is not None or self.before_mlp is not None:
            return packing.join([self.forward(grid) for grid in packing.split(rows)])
        rows = self._attend_over_time_packed(rows, packing)
        qkv = self.attn.qkv(self.norm1(rows))
        heads = packing.join([self.attn.space_heads(part) for part in packing.split(qkv)])
        r = self._drop_packed(self.attn.proj(heads), packing, axes=(0, 1))
        # As in forward: r[:, :, 0] = r[:, :, 0].mean(dim=0), for the class rows of every grid.
        copies = packing.split_class_rows(r.index_select(0, packing.class_rows))  # each T B D
        means = [part.mean(dim=0, keepdim=True).expand_as(part).flatten(0, 1) for part in copies]
        rows = add_residual(rows, r.index_copy_(0, packing.class_rows, torch.cat(means)))
        return add_residual(rows, self._drop_packed(self.mlp(self.norm2(rows)), packing, axes=(1,)))

    def forward_cls_packed(self, rows: Tensor, packing: Packing) -> Tensor:
        """Return the class token of every clip of several grids, ``(clips, embed_dim)``; see :meth:`forward_cls`."""
        plain = is_plain_linear(self.attn.qkv) and is_plain_linear(self.attn.proj)
        if self.before_attention is not None or self.before_mlp is not None or not plain:
            return torch.cat([self.forward_cls(grid) for grid in packing.split(rows)])
        rows = self._attend_over_time_packed(rows, packing)
        return torch.cat([self._class_token(grid) for grid in packing.split(rows)])

    def attend_over_time(self, x: Tensor, backend: Backend = EAGER) -> Tensor:
        """Run the temporal step, in which the class token does not take part."""
        if self.before_attention is not None:
            x = self.before_attention(x)
        heads = self.temporal_attn.over_time(backend.norm(self.temporal_norm1, x), backend)
        if backend.fuses_residual:
            # temporal_attn.proj and temporal_fc follow each other without anything between them: one linear map.
            out = backend.add(x, heads, self.temporal_attn.proj, self.temporal_fc)
            out[:, :, 0] = x[:, :, 0]
            return out
        # The branch is dropped before the last linear layer, so that layer's bias is always added: as published.
        r = self.temporal_fc(self._drop(self.temporal_attn.proj(heads), axes=(1, 2)))
        r[:, :, 0] = 0
        return add_residual(x, r)

    def spatial_attention(self, x: Tensor, backend: Backend = EAGER) -> Tensor:
        """Return the softmax weights of the spatial step, ``(time, batch, heads, 1 + patches, 1 + patches)``."""
        return self.attn.spatial_weights(self.norm1(self.attend_over_time(x, backend)))

    def _class_token(self, x: Tensor) -> Tensor:
        """Return the class token ``(batch, embed_dim)`` after the spatial step and the MLP.

        Args:
            x: Tokens after the temporal step, ``(time, batch, 1 + patches, embed_dim)``.
        """
        dropping = self.training and self.drop_path_rate > 0
        c = x[0, :, 0]  # B D; equal in all frames
        n = self.norm1(x)  # T B N D
        heads, head_dim, dim = self.attn.num_heads, self.attn.head_dim, c.shape[-1]
        w_q, w_k, w_v = self.attn.qkv.weight.view(3, heads, head_dim, dim).unbind(0)  # each H d D
        bias = self.attn.qkv.bias

        # The query of a head: q = Wq n_cls + bq. The class token is the same in every frame, so one per clip suffices.
        q = torch.einsum("bd,hed->bhe", n[0, :, 0], w_q)  # B H d
        if bias is not None:
            q = q + bias.view(3, heads, head_dim)[0]

        # Its score with token j: q . (Wk n_j + bk) = (Wk^T q) . n_j + q . bk. The last term is the same for every j and
        # cancels in the softmax, so keys need not be formed: the scores are n times one column Wk^T q per head.
        key = torch.einsum("bhe,hed->bdh", q * head_dim**-0.5, w_k)  # B D H
        weights = (n @ key).softmax(dim=2)  # T B N H; sums to 1 over the tokens of each frame

        # Stochastic depth drops whole frames of the branch, whose mean over frames the class token receives. A factor
        # k_t per frame (0, or one over the keep rate) multiplies its weights; their sum is then k_t instead of 1, so
        # that biases, which are added once per frame, get the mean of k_t as a factor.
        bias_scale: Tensor | float = 1.0
        if dropping:
            kept = self._drop(x.new_ones(len(x), len(c), 1, 1), axes=(0, 1))  # T B 1 1
            weights, bias_scale = weights * kept, kept.mean(dim=0).flatten(1)  # bias_scale: B 1

        # The result of frame t: sum_j w_tj (Wv n_j + bv) = Wv (sum_j w_tj n_j) + bv, because the weights sum to 1. The
        # mean over frames is linear too, so tokens are averaged first and Wv is applied to one vector per head.
        pooled = torch.einsum("tbnh,tbnd->bhd", weights, n) / len(n)  # B H D
        out = torch.einsum("bhd,hed->bhe", pooled, w_v).flatten(1)  # B D
        if bias is not None:
            out = out + bias[-dim:] * bias_scale

        # proj adds its full bias; if frames were dropped, only bias_scale of it belongs to the branch.
        c = c + self.attn.proj(out)
        if dropping:
            c = c + self.attn.proj.bias * (bias_scale - 1)
        result: Tensor = c + self._drop(self.mlp(self.norm2(c)), axes=(0,))
        return result

    def _attend_over_time_packed(self, rows: Tensor, packing: Packing) -> Tensor:
        qkv = self.temporal_attn.qkv(self.temporal_norm1(rows))
        heads = packing.join([self.temporal_attn.time_heads(part) for part in packing.split(qkv)])
        r = self.temporal_fc(self._drop_packed(self.temporal_attn.proj(heads), packing, axes=(1, 2)))
        return add_residual(rows, r.index_fill_(0, packing.class_rows, 0))

    def _drop_packed(self, rows: Tensor, packing: Packing, *, axes: tuple[int, ...]) -> Tensor:
        if not self.training or self.drop_path_rate == 0:
            return rows
        # The factors of every grid are drawn on a grid of ones, in the order in which forward would draw them.
        ones = [rows.new_ones(1).expand(*shape, 1) for shape in packing.shapes]
        return rows * packing.join([self._drop(part, axes=axes) for part in ones])


def resize_position_embedding(embedding: Tensor, grid: tuple[int, int], method: TableResize = "nearest") -> Tensor:
    """Resize the position embedding to another grid of patches.

    ``"nearest"`` resizes only if the number of patches differs: a 7 x 28 grid takes the rows of a 14 x 14 embedding in
    order. The published Endo-FM weights are used that way. The other methods resize whenever rows or columns differ:
    ``"bilinear"`` with half-pixel centres, ``"bicubic"`` with a filter as wide as the reduction, as timm does it.

    Args:
        embedding: ``(1, 1 + P * P, embed_dim)``; row 0 belongs to the class token.
        grid: Rows and columns of patches.
        method: A method of :class:`~endofm.config.EncoderConfig`.

    Returns:
        ``(1, 1 + rows * columns, embed_dim)``.
    """
    height, width = grid
    rows = embedding.shape[1] - 1
    # As published, "nearest" compares the number of patches alone, not the shape of the grid.
    if height * width == rows and (method == "nearest" or height == width):
        return embedding
    side = int(rows**0.5)
    patches = embedding[:, 1:].transpose(1, 2).reshape(1, -1, side, side)  # 1 D P P
    patches = F.interpolate(patches, size=grid, mode=method, antialias=method == "bicubic")
    return torch.cat((embedding[:, :1], patches.flatten(2).transpose(1, 2)), dim=1)


def resize_time_embedding(embedding: Tensor, num_frames: int, method: TableResize = "nearest") -> Tensor:
    """Resize the time embedding to another number of frames.

    Args:
        embedding: ``(1, rows, embed_dim)``.
        num_frames: Frames in the clip.
        method: As for the position embedding; all but ``"nearest"`` are linear in time.

    Returns:
        ``(1, num_frames, embed_dim)``; by nearest neighbour, frame ``t`` has row ``floor(t * rows / num_frames)``.
    """
    if num_frames == embedding.shape[1]:
        return embedding
    mode = "nearest" if method == "nearest" else "linear"
    return F.interpolate(embedding.transpose(1, 2), size=num_frames, mode=mode).transpose(1, 2)
