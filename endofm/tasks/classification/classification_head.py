"""Classification head: from an encoder's tokens to class logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.errors import ConfigError, InputError
from endofm.outputs import EncoderOutput
from endofm.tasks.classification.config import ClassificationHeadConfig


class AttentivePool(nn.Module):
    """One trainable query that attends to all patch tokens of a clip.

    The probe of frozen video encoders in V-JEPA (arXiv 2404.08471, section 4.1), without its MLP: a layer norm, keys
    and values from the tokens, one query, an output projection.

    Args:
        embed_dim: Width of the tokens.
        num_heads: Attention heads; divides ``embed_dim``.
        layer_norm_eps: Epsilon of the norm.
    """

    def __init__(self, embed_dim: int, num_heads: int, *, layer_norm_eps: float = 1e-6) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ConfigError(f"attentive_heads {num_heads} does not divide the width {embed_dim} of the tokens")
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.norm = nn.LayerNorm(embed_dim, eps=layer_norm_eps)
        self.key_value = nn.Linear(embed_dim, 2 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        nn.init.trunc_normal_(self.query, std=0.02)
        for linear in (self.key_value, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool ``(batch, tokens, embed_dim)`` to ``(batch, embed_dim)``."""
        batch, count, dim = tokens.shape
        keys, values = self.key_value(self.norm(tokens)).view(batch, count, 2, self.num_heads, -1).unbind(2)
        # The query has no projection: it is a parameter already, and a linear map of it would add no freedom.
        query = self.query.expand(batch, 1, dim).view(batch, 1, self.num_heads, -1)
        heads = F.scaled_dot_product_attention(  # B H 1 d
            query.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)
        )
        out: Tensor = self.proj(heads.transpose(1, 2).reshape(batch, dim))
        return out


class ClassificationHead(nn.Module):
    """Pooling, dropout and one linear layer.

    With the class token and no dropout this is the published classifier, including its initialisation: weights from a
    normal distribution of deviation 0.01, biases 0 (``eval_finetune.py`` of med-air/Endo-FM, commit 206427e).

    Args:
        config: Pooling, dropout and number of classes.
        embed_dim: Width of the tokens.
        layer_norm_eps: Epsilon of the norm of an attentive pooling.
    """

    def __init__(self, config: ClassificationHeadConfig, embed_dim: int, *, layer_norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.pool: AttentivePool | None = None
        if config.pooling == "attentive":
            self.pool = AttentivePool(embed_dim, config.attentive_heads, layer_norm_eps=layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(embed_dim, config.num_classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    @property
    def needs_patch_tokens(self) -> bool:
        """True if the head reads patch tokens in addition to the class token."""
        return self.pool is not None

    def forward(self, tokens: EncoderOutput) -> Tensor:
        """Return logits.

        Args:
            tokens: Output of the encoder; patch tokens are read by an attentive pooling only.

        Returns:
            ``(batch, num_classes)``.

        Raises:
            InputError: If patch tokens are needed and missing.
        """
        pooled = tokens.cls_token
        if self.pool is not None:
            if tokens.patch_tokens is None:
                raise InputError("an attentive head needs the encoder's patch tokens")
            pooled = self.pool(tokens.patch_tokens.flatten(1, -2))  # B (T h w) D
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits
