"""Settings of the views of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from endofm.config.checks import require_choice, require_int, require_number
from endofm.errors import ConfigError, quoted

CropRule = Literal["first_fit", "last_try"]
GreyWeights = Literal["rgb", "bgr"]


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Views in time, space and colour. The defaults are the published numbers, with each published quirk corrected.

    Attributes:
        global_frames: Frames of each global view, seen by teacher and student.
        local_frames: Frames of each local view, seen by the student alone; may be empty.
        global_size: Side of a global view in pixels.
        local_size: Side of a local view in pixels.
        global_scale: Smallest and largest fraction of the frame's area that a global view covers.
        local_scale: Smallest and largest fraction of the frame's area that a local view covers.
        global_margin: Frames of the clip that a global view leaves out: the first view at the end of the clip, the last
            view at its beginning, views in between some at either end.
        local_parts: Number of parts into which the clip is divided; a local view has the length of one.
        span_seconds: Longest span of a video that is used at a time, at a random position; published: 256 frames at 30
            frames per second.
        flip_probability: Probability of a horizontal flip.
        jitter_probability: Probability of changing brightness, contrast and saturation.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
        grey_probability: Probability of converting to grey.
        mean: Per-channel mean (RGB, range [0, 1]).
        std: Per-channel standard deviation.
        crop_rule: ``"first_fit"`` stops at the first random box that fits into the frame. ``"last_try"`` (as published)
            always makes ten tries and crops a box of the size of the last one at the position of the last that
            fitted, limited to the frame, which distorts the picture.
        grey_weights: Channel order assumed by the grey values of contrast, saturation and grey views. Frames are RGB;
            ``"bgr"`` is as published.
        shared_draws: 0 draws new flips and colours for every clip and epoch. Otherwise the number of sets of draws that
            all clips and epochs share: as published, where all data workers start every epoch with the same state of
            numpy's generator.
    """

    global_frames: tuple[int, ...] = (8, 16)
    local_frames: tuple[int, ...] = (2, 2, 4, 4, 8, 8, 16, 16)
    global_size: int = 224
    local_size: int = 96
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.4)
    global_margin: int = 5
    local_parts: int = 8
    span_seconds: float = 256 / 30
    flip_probability: float = 0.5
    jitter_probability: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    grey_probability: float = 0.2
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop_rule: CropRule = "first_fit"
    grey_weights: GreyWeights = "rgb"
    shared_draws: int = 0

    def __post_init__(self) -> None:
        for name in ("global_frames", "local_frames"):
            counts = getattr(self, name)
            if not isinstance(counts, tuple) or not all(type(n) is int and n >= 1 for n in counts):
                raise ConfigError(f"ViewConfig.{name} must be a list of integers >= 1, got {quoted(counts)}")
        if not self.global_frames or len(self.global_frames) + len(self.local_frames) < 2:
            raise ConfigError(
                "ViewConfig needs at least one global view and at least two views in all, got global_frames "
                f"{quoted(self.global_frames)} and local_frames {quoted(self.local_frames)}"
            )
        require_int(self, "global_size", "local_size")
        require_int(self, "global_margin", "shared_draws", low=0)
        require_int(self, "local_parts", low=2)
        require_number(self, "span_seconds", low=0, open_low=True)
        require_number(
            self, "flip_probability", "jitter_probability", "grey_probability", "brightness", "contrast", low=0, high=1
        )
        require_number(self, "saturation", low=0, high=1)
        for name in ("global_scale", "local_scale"):
            pair = _numbers(self, name, 2)
            if not 0 < pair[0] <= pair[1] <= 1:
                raise ConfigError(
                    f"ViewConfig.{name} must be two fractions with 0 < low <= high <= 1, got {quoted(pair)}"
                )
        _numbers(self, "mean", 3)
        if min(_numbers(self, "std", 3)) <= 0:
            raise ConfigError(f"ViewConfig.std must be positive, got {quoted(self.std)}")
        require_choice(self, "crop_rule", get_args(CropRule))
        require_choice(self, "grey_weights", get_args(GreyWeights))

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames of every view, global ones first."""
        return (*self.global_frames, *self.local_frames)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of every view in pixels, global ones first."""
        return (self.global_size,) * len(self.global_frames) + (self.local_size,) * len(self.local_frames)

    @property
    def scales(self) -> tuple[tuple[float, float], ...]:
        """Range of the area of every view, global ones first."""
        return (self.global_scale,) * len(self.global_frames) + (self.local_scale,) * len(self.local_frames)


def _numbers(config: ViewConfig, name: str, count: int) -> tuple[float, ...]:
    values = getattr(config, name)
    if (
        not isinstance(values, tuple)
        or len(values) != count
        or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    ):
        raise ConfigError(f"ViewConfig.{name} must hold {count} numbers, got {quoted(values)}")
    return values
