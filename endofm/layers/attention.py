"""Multi-head self-attention along one axis of a token grid."""

from __future__ import annotations

from torch import Tensor, nn

from endofm.kernels.backend import PLAIN, Arithmetic


class Attention(nn.Module):
    """Multi-head attention with one fused query-key-value projection.

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

    def over_space(self, x: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Let the tokens of one frame attend to each other.

        Args:
            x: ``(time, batch, tokens, embed_dim)``.
            arithmetic: How to multiply.

        Returns:
            Concatenated heads before the output projection, of the same shape.
        """
        return self.space_heads(arithmetic.linear(x, self.qkv), arithmetic)

    def space_heads(self, qkv: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Do what :meth:`over_space` does after the projection, from ``(time, batch, tokens, 3 * embed_dim)`` on."""
        time, batch, tokens, _ = qkv.shape
        qkv = qkv.view(time * batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (T B) H N d
        heads = arithmetic.attend(q, k, v)
        return heads.transpose(1, 2).reshape(time, batch, tokens, -1)

    def over_time(self, x: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Let the tokens at one position attend to each other across frames.

        Args:
            x: ``(time, batch, tokens, embed_dim)``.
            arithmetic: How to multiply.

        Returns:
            Concatenated heads before the output projection, of the same shape.
        """
        return self.time_heads(arithmetic.linear(x, self.qkv), arithmetic)

    def time_heads(self, qkv: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Do what :meth:`over_time` does after the projection, from ``(time, batch, tokens, 3 * embed_dim)`` on."""
        time, batch, tokens, _ = qkv.shape
        qkv = qkv.view(time, batch * tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 1, 3, 0, 4).unbind(0)  # each (B N) H T d
        heads = arithmetic.attend(q, k, v)
        return heads.permute(2, 0, 1, 3).reshape(time, batch, tokens, -1)

    def spatial_weights(self, x: Tensor) -> Tensor:
        """Return the softmax weights of :meth:`over_space`, ``(time, batch, heads, tokens, tokens)``."""
        time, batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(time, batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, _ = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        weights: Tensor = (q * self.head_dim**-0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        return weights
