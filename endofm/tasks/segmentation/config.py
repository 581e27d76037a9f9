"""Head configuration of a segmentation model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from endofm.config.checks import LARGEST_COUNT, LARGEST_SIZE, require_choice, require_int, require_number
from endofm.config.model_config import HeadConfig
from endofm.errors import ConfigError, quoted

MaskNetwork = Literal["hybrid", "light"]

MAX_CLASSES = 256
"""Number of classes that a mask of bytes can distinguish."""

# Groups of the group normalisation, which have to divide the channels.
_STEM_GROUPS = 32
_LIGHT_GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class SegmentationHeadConfig(HeadConfig):
    """Head of :class:`~endofm.tasks.segmentation.model.EndoFMForSegmentation`.

    Attributes:
        labels: Names of the classes in the order of the logits. The first is the background.
        network: ``"hybrid"``, the published network: a convolutional stem before the encoder's blocks, and a decoder
            after them with skip connections from the stem. ``"light"``: a small decoder on the patch tokens of the
            plain encoder, so that one pass of the encoder can serve several tasks.
        dropout: Dropout rate in training: of the tokens before the blocks (hybrid; 0.1 as published), or of the maps
            before the last layer (light).
        stem_width: Hybrid: channels of the stem's finest map, a multiple of 32.
        stem_units: Hybrid: number of bottlenecks in each of the stem's three stages.
        decoder_widths: Hybrid: channels of the decoder's first convolution and of its four stages.
        light_width: Light: channels of the decoder, a multiple of 32.
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
        require_int(self, "stem_width", "light_width", high=LARGEST_SIZE)
        for name, groups in (("stem_width", _STEM_GROUPS), ("light_width", _LIGHT_GROUPS)):
            if getattr(self, name) % groups:
                raise ConfigError(
                    f"SegmentationHeadConfig.{name} must be a multiple of {groups}, got {getattr(self, name)}"
                )
        for name, count, largest in (("stem_units", 3, LARGEST_COUNT), ("decoder_widths", 5, LARGEST_SIZE)):
            values = getattr(self, name)
            positive = isinstance(values, tuple) and all(type(v) is int and 1 <= v <= largest for v in values)
            if not positive or len(values) != count:
                raise ConfigError(
                    f"SegmentationHeadConfig.{name} must be {count} integers from 1 to {largest}: {quoted(values)}"
                )
        if self.num_classes > MAX_CLASSES:
            raise ConfigError(
                f"SegmentationHeadConfig.labels: masks are stored as bytes, which distinguish {MAX_CLASSES} classes; "
                f"got {self.num_classes}"
            )
        if self.num_classes < 2:
            raise ConfigError(
                f"SegmentationHeadConfig.labels: the first label is the background; name a second class after "
                f"{quoted(self.labels[0])}"
            )
