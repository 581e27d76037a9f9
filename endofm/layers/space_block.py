"""One block of an image transformer, run on every frame by itself."""

from __future__ import annotations

from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.kernels.backend import PLAIN, Arithmetic, add
from endofm.layers.attention import Attention
from endofm.layers.block import Mlp, drop_path


class SpaceBlock(nn.Module):
    """Pre-norm block of a vision transformer (arXiv 2010.11929): attention within a frame, then the MLP.

    The tokens are ``(time, batch, 1 + patches, embed_dim)``; every frame has a class token of its own. Frames exchange
    nothing, unless adapters are put at ``before_attention`` or ``before_mlp``.

    Args:
        config: Architecture.
        drop_path_rate: Stochastic depth of this block, drawn for every frame.
    """

    before_attention: nn.Module | None
    before_mlp: nn.Module | None

    def __init__(self, config: EncoderConfig, drop_path_rate: float) -> None:
        super().__init__()
        dim, eps = config.embed_dim, config.layer_norm_eps
        self.drop_path_rate = drop_path_rate
        self.before_attention = self.before_mlp = None
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, config.num_heads, qkv_bias=config.qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, config.mlp_dim)

    def forward(self, x: Tensor, arithmetic: Arithmetic = PLAIN) -> Tensor:
        """Run the block.

        Args:
            x: ``(time, batch, 1 + patches, embed_dim)``.
            arithmetic: How to multiply; without gradients something faster than the modules as they are.
        """
        if self.before_attention is not None:
            x = self.before_attention(x)
        heads = self.attn.over_space(arithmetic.norm(self.norm1, x), arithmetic)
        if arithmetic.fuses_residual:
            x = arithmetic.add(x, heads, self.attn.proj)
        else:
            x = add(x, self._drop(self.attn.proj(heads)))
        if self.before_mlp is not None:
            x = self.before_mlp(x)
        if arithmetic.fuses_residual and type(self.mlp) is Mlp:
            return self.mlp.add_to(x, arithmetic.norm(self.norm2, x), arithmetic)
        return add(x, self._drop(self.mlp(self.norm2(x))))

    def _drop(self, x: Tensor) -> Tensor:
        if self.training and self.drop_path_rate > 0:
            return drop_path(x, self.drop_path_rate, axes=(0, 1))
        return x
