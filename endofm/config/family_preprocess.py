"""Preprocessing with which other projects use their encoders."""

from __future__ import annotations

from endofm.config.model_config import BaseEncoderConfig
from endofm.config.preprocess import PreprocessConfig

_LONG_CLIP = 32
"""Rows of EndoFM-LV's time embedding, which nothing else tells from Endo-FM's."""

_MINUTE_SECONDS = 60.0
"""Window of EndoFM-LV: its views spanned nearly all of clips that last 68 s on average."""


def space_time_clip(encoder: BaseEncoderConfig) -> PreprocessConfig:
    """Return the preprocessing of the Endo-FM family; the long time embedding of EndoFM-LV takes a minute."""
    seconds = _MINUTE_SECONDS if encoder.num_frames == _LONG_CLIP else PreprocessConfig.window_seconds
    return PreprocessConfig.for_image_size(encoder.img_size, num_frames=encoder.num_frames, window_seconds=seconds)


def whole_frame(
    encoder: BaseEncoderConfig,
    *,
    mean: tuple[float, float, float] = PreprocessConfig.mean,
    std: tuple[float, float, float] = PreprocessConfig.std,
) -> PreprocessConfig:
    """Return the whole frame at the encoder's size, resized as Pillow does it with a bicubic filter."""
    return PreprocessConfig.whole_frame(
        encoder.img_size, num_frames=encoder.num_frames, antialias=True, resample="bicubic", mean=mean, std=std
    )


def tubelet_clip(encoder: BaseEncoderConfig) -> PreprocessConfig:
    """Return the preprocessing of SurgMotion's evaluation; a frame a second, as in its lists of surgical phases."""
    return PreprocessConfig(
        num_frames=encoder.num_frames,
        window_seconds=float(encoder.num_frames),
        short_side=encoder.img_size * 256 // 224,
        crop_size=encoder.img_size,
    )
