"""The transfer methods and their settings.

==============  ========================================================================================================
word            what learns
==============  ========================================================================================================
``full``        everything
``linear``      the head; the encoder is frozen
``attentive``   a classifier's head with a learnt query over the patch tokens; the encoder is frozen
``st-adapter``  the head, and bottlenecks with a convolution over time in the blocks; the rest is frozen
``lora``        the head, and low-rank additions to the attention's linear layers; the rest is frozen
==============  ========================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from endofm.config import STAdapterConfig
from endofm.config.adapter import AdapterActivation, AdapterPlacement
from endofm.errors import ConfigError

LORA_TARGETS: tuple[str, ...] = ("attn.qkv", "attn.proj", "temporal_attn.qkv", "temporal_attn.proj")
"""Linear layers of a block that LoRA may be put on, besides ``temporal_fc``, ``mlp.fc1`` and ``mlp.fc2``."""

_LORA_LAYERS = (*LORA_TARGETS, "temporal_fc", "mlp.fc1", "mlp.fc2")


@dataclass(frozen=True, kw_only=True)
class FullTransfer:
    """Everything learns."""

    name: Literal["full"] = "full"


@dataclass(frozen=True, kw_only=True)
class LinearTransfer:
    """The head alone learns, on a frozen encoder in evaluation mode."""

    name: Literal["linear"] = "linear"


@dataclass(frozen=True, kw_only=True)
class AttentiveTransfer:
    """A classifier's head with a learnt query over the patch tokens learns, on a frozen encoder.

    Attributes:
        num_heads: Attention heads of the query; the encoder's number by default.
    """

    name: Literal["attentive"] = "attentive"
    num_heads: int | None = None

    def __post_init__(self) -> None:
        if self.num_heads is not None and self.num_heads < 1:
            raise ConfigError(f"num_heads must be at least 1, got {self.num_heads}")


@dataclass(frozen=True, kw_only=True)
class STAdapterTransfer:
    """ST-Adapters and the head learn (arXiv 2206.13559); see :class:`~endofm.config.STAdapterConfig`.

    Attributes:
        width: Channels of the bottleneck; half the width of the tokens by default, as in the paper.
        kernel: Size of the convolution over time, rows and columns.
        placement: Before the attention, before the MLP, or both.
        last_blocks: How many blocks have adapters, counted from the last; all by default.
        activation: What follows the convolution.
        train_norms: Let the encoder's layer norms learn as well; the paper does not.
    """

    name: Literal["st-adapter"] = "st-adapter"
    width: int | None = None
    kernel: tuple[int, int, int] = (3, 1, 1)
    placement: AdapterPlacement = "both"
    last_blocks: int | None = None
    activation: AdapterActivation = "none"
    train_norms: bool = False

    def __post_init__(self) -> None:
        self.config(2)

    def config(self, embed_dim: int) -> STAdapterConfig:
        """Return the adapters for tokens of a width."""
        return STAdapterConfig(
            width=embed_dim // 2 if self.width is None else self.width,
            kernel=self.kernel,
            placement=self.placement,
            last_blocks=self.last_blocks,
            activation=self.activation,
        )


@dataclass(frozen=True, kw_only=True)
class LoraTransfer:
    """Low-rank additions to linear layers and the head learn (arXiv 2106.09685, by the library peft).

    Attributes:
        rank: Rank of the additions.
        alpha: The additions are multiplied by ``alpha / rank``.
        dropout: Probability of dropping an input of an addition while training.
        targets: Linear layers of a block that get one.
    """

    name: Literal["lora"] = "lora"
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = LORA_TARGETS

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"lora needs rank >= 1, alpha > 0 and dropout in [0, 1), got {self.rank}, {self.alpha}, {self.dropout}"
            )
        for target in self.targets:
            if target not in _LORA_LAYERS:
                raise ConfigError(f"lora: a block has no linear layer {target!r}; it has {', '.join(_LORA_LAYERS)}")
        if not self.targets:
            raise ConfigError(f"lora needs at least one target of {', '.join(_LORA_LAYERS)}")


Transfer = FullTransfer | LinearTransfer | AttentiveTransfer | STAdapterTransfer | LoraTransfer
"""Any of the methods; in a configuration file ``transfer: lora`` or ``transfer: {name: lora, rank: 4}``."""

_METHODS: dict[str, type[Transfer]] = {
    "full": FullTransfer,
    "linear": LinearTransfer,
    "attentive": AttentiveTransfer,
    "st-adapter": STAdapterTransfer,
    "lora": LoraTransfer,
}
TRANSFERS = tuple(_METHODS)
"""The words."""


def named_transfer(word: str) -> Transfer:
    """Return a method with its default settings.

    Raises:
        ConfigError: If there is no method of this name.
    """
    if word not in _METHODS:
        raise ConfigError(f"unknown transfer method {word!r}; choose one of {', '.join(TRANSFERS)}")
    return _METHODS[word]()
