"""Description of a mask model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from endofm.config.checks import require_choice, require_int, require_number
from endofm.config.head import HeadConfig
from endofm.errors import ConfigError

MaskNetwork = Literal["hybrid", "light"]

MAX_CLASSES = 256
"""Number of classes that a mask of bytes can tell apart."""

_STEM_GROUPS = 32
_LIGHT_GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class SegmentationHeadConfig(HeadConfig):
    """Head of :class:`~endofm.tasks.segmentation.model.EndoFMForSegmentation`.

    Attributes:
        labels: Names of the classes in the order of the logits. The first is the background: pixels that belong to
            nothing.
        network: ``"hybrid"``, the published network: a convolutional stem before the encoder's blocks and a decoder
            after them, which adds the stem's maps. ``"light"``: a small decoder on the patch tokens of the plain
            encoder, so that one pass of it can serve several tasks.
        dropout: Probability of dropping while training: tokens that enter the blocks (hybrid; 0.1 as published) or
            maps that enter the last layer (light).
        stem_width: Hybrid: channels of the stem's finest map, a multiple of 32.
        stem_units: Hybrid: bottlenecks in the stem's three stages.
        decoder_widths: Hybrid: channels of the decoder's first convolution and of its four stages.
        light_width: Light: channels inside the head, a multiple of 32.
    """

    task: ClassVar[str] = "segmentation"

    network: MaskNetwork = "hybrid"
    dropout: float = 0.1
    stem_width: int = 64
    stem_units: tuple[int, ...] = (3, 4, 9)
    decoder_widths: tuple[int, ...] = (512, 256, 128, 64, 16)
    light_width: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "network", get_args(MaskNetwork))
        require_number(self, "dropout", low=0, high=1, open_high=True)
        require_int(self, "stem_width", "light_width")
        for name, groups in (("stem_width", _STEM_GROUPS), ("light_width", _LIGHT_GROUPS)):
            if getattr(self, name) % groups:
                raise ConfigError(
                    f"SegmentationHeadConfig.{name} must be a multiple of {groups}, got {getattr(self, name)}"
                )
        for name, count in (("stem_units", 3), ("decoder_widths", 5)):
            values = getattr(self, name)
            positive = isinstance(values, tuple) and all(type(v) is int and v >= 1 for v in values)
            if not positive or len(values) != count:
                raise ConfigError(f"SegmentationHeadConfig.{name} must hold {count} integers >= 1, got {values!r}")
        if self.num_classes > MAX_CLASSES:
            raise ConfigError(
                f"SegmentationHeadConfig.labels: masks are kept as bytes, which tell {MAX_CLASSES} classes apart; got "
                f"{self.num_classes}"
            )
        if self.num_classes < 2:
            raise ConfigError(
                f"SegmentationHeadConfig.labels: the first label is the background; name a second class beside "
                f"{self.labels[0]!r}"
            )
