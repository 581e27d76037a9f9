"""What a task adds to the encoder: the part that all descriptions of heads share, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from endofm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Description of the part of a model that follows the encoder; every task has a subclass.

    Attributes:
        labels: Names of what the model tells apart, in the order of its outputs.
        task: Name of the task, as ``config.json`` has it.
    """

    labels: tuple[str, ...]
    task: ClassVar[str]

    def __post_init__(self) -> None:
        name = f"{type(self).__name__}.labels"
        if not isinstance(self.labels, tuple) or not all(isinstance(label, str) for label in self.labels):
            raise ConfigError(f"{name} must be a list of texts, got {self.labels!r}")
        if not self.labels or "" in (label.strip() for label in self.labels):
            raise ConfigError(f"{name} needs at least one label, and none of them empty; got {self.labels!r}")
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"{name} holds a label twice: {self.labels!r}")

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.labels)
