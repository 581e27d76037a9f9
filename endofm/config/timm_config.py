"""The description of an image network of timm that is run on every frame, a part of ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from endofm.config.checks import require_bool, require_str
from endofm.config.model_config import BaseEncoderConfig
from endofm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TimmConfig(BaseEncoderConfig):
    """An image network of timm.

    Attributes:
        model: Name of the architecture in timm, without the tag of weights.
        plain_relu: Replace every StarReLU, which has a learnt scale and bias, by a plain ReLU, as SurgeNet does.
    """

    kind: ClassVar[str] = "timm"
    model: str
    plain_relu: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_str(self, "model")
        require_bool(self, "plain_relu")
        if not self.model or "." in self.model:
            raise ConfigError(f"TimmConfig.model is the name of an architecture without a tag, got {self.model!r}")

    def describe(self) -> str:
        """Return the kind and size of the network."""
        activation = " with plain ReLU" if self.plain_relu else ""
        return (
            f"a timm {self.model}{activation} per frame: width {self.embed_dim}, a token for {self.patch_size} x "
            f"{self.patch_size} pixels"
        )
