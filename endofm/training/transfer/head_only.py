"""Transfer methods that insert nothing into the encoder: everything learns, or a head on a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from endofm.config import ViTConfig
from endofm.errors import ConfigError
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.training.transfer.base import Transfer

if TYPE_CHECKING:
    from torch import nn

    from endofm.models.pretrained import Pretrained


@dataclass(frozen=True, kw_only=True)
class FullTransfer(Transfer):
    """All parameters learn."""

    name: Literal["full"] = "full"
    freezes_encoder: ClassVar[bool] = False

    def trainable(self, backbone: nn.Module) -> Iterator[nn.Parameter]:
        """Yield all parameters of the encoder."""
        return backbone.parameters()


@dataclass(frozen=True, kw_only=True)
class LinearTransfer(Transfer):
    """The head alone learns, on a frozen encoder in evaluation mode."""

    name: Literal["linear"] = "linear"

    def trainable(self, backbone: nn.Module) -> Iterator[nn.Parameter]:
        """Yield nothing: the encoder is frozen."""
        return iter(())


@dataclass(frozen=True, kw_only=True)
class AttentiveTransfer(Transfer):
    """A classification head with a learned query over the patch tokens learns, on a frozen encoder.

    Attributes:
        num_heads: Attention heads of the query; the encoder's number by default.
    """

    name: Literal["attentive"] = "attentive"
    num_heads: int | None = None
    tasks: ClassVar[tuple[str, ...] | None] = ("classification",)

    def __post_init__(self) -> None:
        if self.num_heads is not None and self.num_heads < 1:
            raise ConfigError(f"num_heads must be at least 1, got {self.num_heads}")

    def insert(self, model: Pretrained) -> None:
        """Replace the head."""
        from endofm.tasks.classification.classification_head import ClassificationHead

        head, encoder = model.config.head, model.config.encoder
        assert isinstance(head, ClassificationHeadConfig)
        # An encoder without attention has no number of heads; 64 channels a head are the usual width.
        heads = encoder.num_heads if isinstance(encoder, ViTConfig) else max(encoder.embed_dim // 64, 1)
        head = replace(head, pooling="attentive", attentive_heads=self.num_heads or heads)
        new = ClassificationHead(head, encoder.embed_dim, layer_norm_eps=encoder.layer_norm_eps)
        model.head = new.to(device=model.device, dtype=model.dtype)
        model.config = replace(model.config, head=head)

    def trainable(self, backbone: nn.Module) -> Iterator[nn.Parameter]:
        """Yield nothing: the encoder is frozen."""
        return iter(())
