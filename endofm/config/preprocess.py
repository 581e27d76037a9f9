"""Preprocessing: from the frames of a video to the clip that a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from endofm.config.checks import (
    LARGEST_COUNT,
    LARGEST_SIZE,
    is_number,
    require_bool,
    require_choice,
    require_int,
    require_number,
)
from endofm.errors import ConfigError, quoted

CropMode = Literal["center", "published", "none", "fit"]
ChannelOrder = Literal["rgb", "bgr"]
ValueRange = Literal["fixed", "frame"]
Resample = Literal["bilinear", "bicubic"]


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Preprocessing from frames to a clip; stored with the weights because features depend on it.

    Attributes:
        num_frames: Frames per clip.
        window_seconds: Duration of a clip in seconds. The default is the 5 s of the pre-training clips.
        short_side: Length in pixels to which the shorter side of a frame is resized (bilinear, half-pixel centres,
            no antialiasing, as published).
        crop_size: Side in pixels of the square crop that follows.
        crop: ``"center"`` (the sound choice) or ``"published"``: the left part of a landscape frame, the top part of a
            portrait frame, as in the published evaluation (an accident on which its numbers depend). ``"none"``
            resizes the full frame to the square and changes its aspect ratio; ``short_side`` then equals
            ``crop_size``. ``"fit"`` keeps the full frame and its aspect ratio: the longer side becomes ``crop_size``,
            and the right and bottom are padded with the mean colour up to multiples of ``pad_multiple`` pixels;
            ``short_side`` equals ``crop_size`` here too.
        antialias: Resize as Pillow does: an enlarged filter when downscaling, results rounded to integers.
        resample: Filter of that resize; ``"bicubic"`` needs ``antialias``.
        values: ``"fixed"``, or ``"frame"``: the values of every frame are stretched to the full range, before resizing
            (to integers) and again after it, so that mean and std apply to values that fill [0, 1]. As published for
            segmentation. A frame with a single value becomes 0.
        channels: Order of the channels in the network's input.
        mean: Per-channel mean (RGB, frames scaled to [0, 1]), independent of the order of channels.
        std: Per-channel standard deviation.
        pad_multiple: The sides of frames of ``"fit"`` are multiples of this number of pixels.
        field_of_view: Crop every frame to the endoscope's image first, without black borders and side panels.
    """

    num_frames: int = 8
    window_seconds: float = 5.0
    short_side: int = 256
    crop_size: int = 224
    crop: CropMode = "center"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    field_of_view: bool = False
    antialias: bool = False
    values: ValueRange = "fixed"
    channels: ChannelOrder = "rgb"
    resample: Resample = "bilinear"
    pad_multiple: int = 32

    def __post_init__(self) -> None:
        require_int(self, "num_frames", high=LARGEST_COUNT)
        require_int(self, "short_side", "crop_size", "pad_multiple", high=LARGEST_SIZE)
        require_number(self, "window_seconds", low=0, open_low=True)
        require_choice(self, "crop", get_args(CropMode))
        require_choice(self, "values", get_args(ValueRange))
        require_choice(self, "channels", get_args(ChannelOrder))
        require_choice(self, "resample", get_args(Resample))
        if self.short_side < self.crop_size:
            raise ConfigError(
                f"PreprocessConfig.short_side {self.short_side} is smaller than crop_size {self.crop_size}"
            )
        # Without a crop there is one size; two different numbers would leave it open which one is meant.
        if self.crop in ("none", "fit") and self.short_side != self.crop_size:
            raise ConfigError(
                f"PreprocessConfig.short_side {self.short_side} must equal crop_size {self.crop_size} where nothing is "
                f"cropped (crop {self.crop!r})"
            )
        if self.crop == "fit" and (over := self.crop_size % self.pad_multiple):
            raise ConfigError(
                f"PreprocessConfig.crop_size {self.crop_size} must be a multiple of {self.pad_multiple} with the crop "
                f"'fit': {self.crop_size - over or self.pad_multiple} or {self.crop_size - over + self.pad_multiple}"
            )
        # Statistics are those of RGB even where the network takes BGR; the processor reorders them.
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not all(is_number(v) for v in values):
                raise ConfigError(f"PreprocessConfig.{name} must hold 3 numbers, got {quoted(values)}")
        if min(self.std) <= 0:
            raise ConfigError(f"PreprocessConfig.std must be positive, got {quoted(self.std)}")
        require_bool(self, "field_of_view", "antialias")
        if self.resample == "bicubic" and not self.antialias:
            raise ConfigError("PreprocessConfig.resample 'bicubic' needs antialias: no other bicubic resize is offered")

    @classmethod
    def for_image_size(cls, size: int, **changes: Any) -> PreprocessConfig:
        """Return the default preprocessing for another crop size, with its ratio of resize to crop, 256:224."""
        return cls(crop_size=size, short_side=round(size * 256 / 224), **changes)

    @classmethod
    def whole_frame(cls, size: int, **changes: Any) -> PreprocessConfig:
        """Return the default preprocessing without a crop: the full frame, resized to a square of this size."""
        return cls(crop_size=size, short_side=size, crop="none", **changes)

    @classmethod
    def fitted_frame(cls, size: int, **changes: Any) -> PreprocessConfig:
        """Return the default preprocessing without a crop: aspect ratio kept, the longer side of this size."""
        return cls(crop_size=size, short_side=size, crop="fit", **changes)
