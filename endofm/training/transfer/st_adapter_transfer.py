"""Transfer by ST-Adapters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from endofm.config import STAdapterConfig
from endofm.config.st_adapter_config import AdapterActivation, AdapterPlacement
from endofm.errors import ConfigError
from endofm.training.transfer.base import Transfer, blocks_of, describe_encoder

if TYPE_CHECKING:
    from torch import nn

    from endofm.models.pretrained import Pretrained


@dataclass(frozen=True, kw_only=True)
class STAdapterTransfer(Transfer):
    """ST-Adapters and the head learn (arXiv 2206.13559); see :class:`~endofm.config.STAdapterConfig`.

    Attributes:
        width: Channels of the bottleneck; half the width of the tokens by default, as in the paper.
        kernel: Size of the convolution over time, rows and columns.
        placement: Before the attention, before the MLP, or both.
        last_blocks: Number of blocks with adapters, counted from the last; all by default.
        activation: Activation after the convolution.
        train_norms: Train the encoder's layer norms as well, unlike the paper.
    """

    name: Literal["st-adapter"] = "st-adapter"
    width: int | None = None
    kernel: tuple[int, int, int] = (3, 1, 1)
    placement: AdapterPlacement = "both"
    last_blocks: int | None = None
    activation: AdapterActivation = "none"
    train_norms: bool = False
    inserted: ClassVar[tuple[str, ...]] = (".before_",)
    # The adapter before the last MLP changes the patch tokens only, which a head on the class token does not see.
    leaves_unused: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.adapter(embed_dim=2)

    def adapter(self, embed_dim: int) -> STAdapterConfig:
        """Return the description of the adapters for tokens of a width."""
        return STAdapterConfig(
            width=embed_dim // 2 if self.width is None else self.width,
            kernel=self.kernel,
            placement=self.placement,
            last_blocks=self.last_blocks,
            activation=self.activation,
        )

    def check(self, model: Pretrained) -> None:
        """Raise ConfigError if the encoder has adapters already."""
        super().check(model)
        if model.config.transformer.st_adapter is not None:
            raise ConfigError(f"{type(model).__name__} has adapters already; apply {self.name} to a model without any")

    def insert(self, model: Pretrained) -> None:
        """Insert the adapters; their convolutions start at zero, so that the outputs stay the same."""
        import torch

        from endofm.layers.st_adapter import insert_st_adapters

        encoder = model.config.transformer
        config = self.adapter(encoder.embed_dim)
        with torch.device(model.device):
            insert_st_adapters(blocks_of(model), encoder.embed_dim, config)
        describe_encoder(model, replace(encoder, st_adapter=config))
        # New parameters are float32, whatever the precision of the model.
        model.to(dtype=model.dtype)

    def trainable(self, backbone: nn.Module) -> Iterator[nn.Parameter]:
        """Yield the parameters of the adapters, and of layer norms if they are trained."""
        from torch import nn

        from endofm.layers.st_adapter import STAdapter

        for module in backbone.modules():
            if isinstance(module, STAdapter) or (self.train_norms and isinstance(module, nn.LayerNorm)):
                yield from module.parameters()
