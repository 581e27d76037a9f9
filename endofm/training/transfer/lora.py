"""Transfer by LoRA through the library peft: low-rank additions to linear layers.

A linear layer ``y = W x + b`` gets a second path of two small matrices,

    y = W x + b + (alpha / rank) B (A x),        A: rank x in,  B: out x rank,

of which only A and B learn (arXiv 2106.09685, section 4.1). B starts at zero, so that a fresh addition changes nothing.
As ``W x + s B (A x) = (W + s B A) x`` with ``s = alpha / rank``, the additions of a trained model are merged into W:
the model that comes out has the layers, the tensor names and the speed of the one that training started from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from endofm.config.checks import LARGEST_SIZE
from endofm.errors import ConfigError, quoted, require_extra
from endofm.training.transfer.base import Transfer, backbone_of

if TYPE_CHECKING:
    from torch import nn

    from endofm.models.pretrained import Pretrained

LORA_TARGETS: tuple[str, ...] = ("attn.qkv", "attn.proj", "temporal_attn.qkv", "temporal_attn.proj")
"""Linear layers of a block that get an addition by default."""

_LORA_LAYERS = (*LORA_TARGETS, "temporal_fc", "mlp.fc1", "mlp.fc2")
_PREFIX = "lora_"


@dataclass(frozen=True, kw_only=True)
class LoraTransfer(Transfer):
    """Low-rank additions to linear layers and the head learn (arXiv 2106.09685, by the library peft).

    Attributes:
        rank: Rank of the additions.
        alpha: The additions are multiplied by ``alpha / rank``.
        dropout: Probability of dropping an input of an addition while training.
        targets: Linear layers of a block that get an addition.
    """

    name: Literal["lora"] = "lora"
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = LORA_TARGETS
    inserted: ClassVar[tuple[str, ...]] = (_PREFIX,)

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= LARGEST_SIZE or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"lora needs a rank from 1 to {LARGEST_SIZE}, alpha > 0 and dropout in [0, 1), got "
                f"{quoted((self.rank, self.alpha, self.dropout))}"
            )
        for target in self.targets:
            if target not in _LORA_LAYERS:
                raise ConfigError(
                    f"lora: a block has no linear layer {quoted(target)}; it has {', '.join(_LORA_LAYERS)}"
                )
        if not self.targets:
            raise ConfigError(f"lora needs at least one target of {', '.join(_LORA_LAYERS)}")

    def insert(self, model: Pretrained) -> None:
        """Add the low-rank paths; they start at zero.

        Raises:
            MissingExtraError: If peft is not installed.
        """
        peft = require_extra("peft", "train", "Transfer by LoRA")
        # A pattern for full names, so that "attn.qkv" does not also match "temporal_attn.qkv". The encoder, or single
        # blocks of it, may have been compiled.
        names = "|".join(target.replace(".", r"\.") for target in self.targets)
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=rf"(_orig_mod\.)*blocks\.\d+\.(_orig_mod\.)*({names})",
        )
        peft.inject_adapter_in_model(config, backbone_of(model))

    def rebuild(self, model: Pretrained) -> None:
        """Add the low-rank paths, which no configuration describes because they are merged before export."""
        self.insert(model)

    def trainable(self, backbone: nn.Module) -> Iterator[nn.Parameter]:
        """Yield the low-rank matrices."""
        return (parameter for _, parameter in lora_parameters(backbone))

    def merge(self, model: Pretrained) -> None:
        """Merge the additions into the layers that they belong to; see :func:`merge_lora`."""
        merge_lora(model)


def merge_lora(model: nn.Module) -> int:
    """Merge low-rank additions into the layers that they belong to, and remove them.

    The outputs stay the same up to rounding, and the model has the layers and names that it had before.

    Args:
        model: A model with or without additions.

    Returns:
        Number of layers that had one.
    """
    merged = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if not hasattr(layer, "lora_A") or not hasattr(layer, "get_base_layer"):
                continue
            addition: Any = layer  # of a class of peft
            # W <- W + (alpha / rank) B A; safe_merge refuses a sum that is not finite.
            addition.merge(safe_merge=True)
            base = addition.get_base_layer()
            base.requires_grad_(True)
            setattr(parent, name, base)
            merged += 1
    return merged


def lora_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield names and parameters of low-rank additions."""
    return ((name, parameter) for name, parameter in model.named_parameters() if _PREFIX in name)
