"""The virtual camera: a smooth path of pan, zoom, rotation and exposure over a still.

A clip of a still shows no new tissue, no parallax and no deformation. Whatever rests on such clips has to say so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError, InputError, quoted
from endofm.json_text import parse_json

if TYPE_CHECKING:
    # Settings of training hold a CameraConfig, and are read before torch is imported.
    from endofm.transforms.affine import Size

Float64Array = npt.NDArray[np.float64]

KIND = "virtual camera over a still"
"""Mark of every record of such a clip."""

POSES = 3
"""Poses that a path bends through: first, control and last point of a quadratic Bezier curve."""


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """Ranges of the camera's path.

    Attributes:
        num_frames: Frames of a clip.
        size: Side of the square frames in pixels.
        zoom: Smallest and largest side of the view, as a fraction of the largest one that fits into the still.
        rotation: Largest angle to either side in degrees.
        gain: Largest relative change of brightness.
        motion: How far the camera goes within a clip, as a fraction of the ranges; 0 shows one view throughout.
        flip: Probability of a view that is mirrored left to right.
    """

    num_frames: int = 6
    size: int = 128
    zoom: tuple[float, float] = (0.6, 1.0)
    rotation: float = 15.0
    gain: float = 0.1
    motion: float = 0.5
    flip: float = 0.0

    def __post_init__(self) -> None:
        require_int(self, "num_frames")
        require_int(self, "size", low=8)
        require_number(self, "rotation", low=0, high=180)
        require_number(self, "gain", "motion", "flip", low=0, high=1)
        if not (len(self.zoom) == 2 and 0 < self.zoom[0] <= self.zoom[1] <= 1):
            raise ConfigError(f"CameraConfig.zoom must be two fractions with 0 < low <= high <= 1, got {self.zoom!r}")

    def without_turns(self) -> CameraConfig:
        """Return the path for stills whose boxes come without masks: a turned rectangle has no exact upright box."""
        return replace(self, rotation=0.0)


@dataclass(frozen=True)
class CameraDraw:
    """Random numbers of one clip, whatever the size of its still.

    Attributes:
        poses: float64 ``(3, 5)``, for each pose: position along x and y in [-1, 1] of the room that the view leaves,
            zoom, angle in radians, gain.
        flip: Whether the view is mirrored.
    """

    poses: Float64Array
    flip: bool

    @classmethod
    def draw(cls, config: CameraConfig, generator: np.random.Generator) -> CameraDraw:
        """Draw a path: three poses, of which the later ones stay near the first by ``config.motion``."""
        low = np.array([-1, -1, config.zoom[0], -np.deg2rad(config.rotation), 1 - config.gain])
        high = np.array([1, 1, config.zoom[1], np.deg2rad(config.rotation), 1 + config.gain])
        poses = low + (high - low) * generator.random((POSES, len(low)))
        # A blend of two points of the ranges lies in the ranges.
        poses[1:] = poses[:1] + config.motion * (poses[1:] - poses[:1])
        return cls(poses, bool(generator.random() < config.flip))

    def describe(self) -> str:
        """Return the path as JSON, from which :meth:`from_description` makes an equal one."""
        # repr of a float is exact.
        return json.dumps({"kind": KIND, "poses": self.poses.tolist(), "flip": self.flip})

    @classmethod
    def from_description(cls, text: str) -> CameraDraw:
        """Return the path that :meth:`describe` wrote.

        Raises:
            InputError: If it is another string.
        """
        try:
            values = parse_json(text)
            poses, flip = np.array(values["poses"], np.float64), bool(values["flip"])
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise InputError(f"{quoted(text)} describes no path of the virtual camera ({error!r:.100})") from error
        if poses.shape != (POSES, 5) or not np.isfinite(poses).all():
            raise InputError(f"{quoted(text)} describes no path of the virtual camera: it needs {POSES} x 5 numbers")
        return cls(poses, flip)


@dataclass(frozen=True, eq=False)
class CameraPaths:
    """Position of every frame of several clips in their stills.

    Attributes:
        matrices: float64 ``(clips, time, 2, 3)``, from pixels of the frames to pixels of the stills; see
            :mod:`endofm.transforms.affine`.
        gains: float64 ``(clips, time)``, factor of the brightness.
    """

    matrices: Float64Array
    gains: Float64Array


def camera_paths(draws: Sequence[CameraDraw], sizes: npt.ArrayLike, *, num_frames: int, frame: Size) -> CameraPaths:
    """Return the paths of clips; every frame lies within its still.

    Args:
        draws: One per clip.
        sizes: ``(clips, 2)``, height and width of the stills in pixels.
        num_frames: Frames of a clip, evenly along the path; a single one is its first pose.
        frame: Height and width of the frames.
    """
    poses = np.stack([draw.poses for draw in draws])  # clips 3 5
    mirror = np.where([draw.flip for draw in draws], -1.0, 1.0)[:, None]
    t = np.linspace(0, 1, num_frames)
    bezier = np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2])  # 3 time
    x, y, zoom, angle, gain = np.moveaxis(np.einsum("npv,pt->ntv", poses, bezier), -1, 0)  # clips time each
    height, width = np.asarray(sizes, np.float64).T[..., None]  # clips 1 each
    rows, columns = frame
    cos, sin = np.cos(angle), np.sin(angle)
    # Sides of the upright rectangle around a turned frame, in pixels of the frame.
    across = columns * np.abs(cos) + rows * np.abs(sin)
    down = columns * np.abs(sin) + rows * np.abs(cos)
    scale = zoom * np.minimum(width / across, height / down)
    # The position is relative to the room that is left, so that the view never leaves the still.
    centre_x = width / 2 + x * (width - scale * across) / 2
    centre_y = height / 2 + y * (height - scale * down) / 2
    linear = np.stack([scale * cos * mirror, -scale * sin, scale * sin * mirror, scale * cos], -1)
    linear = linear.reshape(*linear.shape[:2], 2, 2)
    shift = np.stack([centre_x, centre_y], -1) - linear @ np.array([columns / 2, rows / 2])
    return CameraPaths(np.concatenate([linear, shift[..., None]], axis=-1), gain)
