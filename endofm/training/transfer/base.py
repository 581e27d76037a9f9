"""The interface of a transfer method: how a pretrained model is prepared to learn a task.

This module and those of the methods import torch inside functions, so that a configuration is checked at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from endofm.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from endofm.config import EncoderConfig
    from endofm.models.pretrained import Pretrained


@dataclass(frozen=True, kw_only=True)
class Transfer(ABC):
    """A transfer method with its settings.

    A new method is one module with a subclass, and one entry in :mod:`endofm.training.transfer.methods`. By default
    nothing is inserted into the encoder.

    Attributes:
        name: Name of the method in configurations; each subclass narrows it to a ``Literal``.
        tasks: Names of the tasks that the method works for; None for all.
        inserted: Parts of the names of modules and parameters that the method inserts into the encoder. They are new,
            like the head: they are in training mode inside a frozen encoder and learn at the head's rate.
        freezes_encoder: Whether the encoder's pretrained weights stay as they are, so that what was learnt can be saved
            without them.
        leaves_unused: Whether some trainable parameters may get no gradient in a step, which DDP has to know.
    """

    name: str = ""
    tasks: ClassVar[tuple[str, ...] | None] = None
    inserted: ClassVar[tuple[str, ...]] = ()
    freezes_encoder: ClassVar[bool] = True
    leaves_unused: ClassVar[bool] = False

    def check(self, model: Pretrained) -> None:
        """Raise ConfigError if the method does not fit the model."""
        if self.tasks is not None and model.config.task not in self.tasks:
            raise ConfigError(
                f"transfer {self.name} is for {', '.join(self.tasks)}; {type(model).__name__} is for "
                f"{model.config.task}"
            )

    def insert(self, model: Pretrained) -> None:
        """Add the modules of the method to a model, and describe in its configuration those that stay in it."""
        return

    def rebuild(self, model: Pretrained) -> None:
        """Add the modules that a model built from the configuration of a prepared one lacks."""
        return

    @abstractmethod
    def trainable(self, backbone: nn.Module) -> Iterator[nn.Parameter]:
        """Yield the parameters of the encoder that learn; the head always learns."""

    def merge(self, model: Pretrained) -> None:
        """Turn a trained model into one without the modules that only training needs; its outputs do not change."""
        return

    def prepare(self, model: Pretrained) -> None:
        """Insert the modules of the method and make exactly its parameters and the head trainable.

        The model is changed in place and its outputs do not change. New parameters are drawn from torch's global
        generator.

        Raises:
            ConfigError: If the method does not fit the model.
        """
        backbone = backbone_of(model)
        self.check(model)
        model.requires_grad_(True)
        backbone.requires_grad_(False)
        self.insert(model)
        for parameter in self.trainable(backbone):
            parameter.requires_grad_(True)


def backbone_of(model: Pretrained) -> nn.Module:
    """Return the encoder inside a model.

    Raises:
        ConfigError: If the model is an encoder itself, without a head to train.
    """
    from torch import nn

    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError(
            f"{type(model).__name__} has no head to train; put one on it (EndoFMForVideoClassification.from_backbone)"
        )
    return backbone


def blocks_of(model: Pretrained) -> nn.ModuleList:
    """Return the blocks of the encoder inside a model.

    Raises:
        ConfigError: If it is a network of another form.
    """
    from torch import nn

    blocks = getattr(backbone_of(model), "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ConfigError(
            f"this transfer method changes the blocks of an encoder, but {model.config.encoder.describe()} has none; "
            "use transfer=full, linear or attentive"
        )
    return blocks


def describe_encoder(model: Pretrained, encoder: EncoderConfig) -> None:
    """Set the encoder's configuration in both places that hold it."""
    model.config = replace(model.config, encoder=encoder)
    backbone_of(model).encoder_config = encoder  # type: ignore[assignment]


def trainable_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield names and parameters that learn."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def count_trainable(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for _, parameter in trainable_parameters(model))
