"""Camera path: position and orientation, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endofm.synthetic.anatomy import NUM_THETA, NUM_Z, Anatomy
from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import TUBE_LENGTH, CameraSpec, RenderConfig

_LOOK_AHEAD = 1.1
"""Distance along the axis of the point that the camera looks at when it has no aim."""
_LOOK_AWAY = 0.75
"""Strength with which the view avoids the aim outside of its window, so that a polyp is not in view by chance."""


@dataclass(frozen=True, eq=False)
class Pose:
    """One position of the camera.

    Attributes:
        position: float64 ``(3,)``, world coordinates.
        axes: float64 ``(3, 3)``, columns right, down and forward in world coordinates.
    """

    position: np.ndarray
    axes: np.ndarray

    def rays(self, directions: Float32Array) -> Float32Array:
        """Turn camera directions ``(3, n)`` into world directions."""
        a = self.axes.astype(np.float32)
        x, y, z = directions
        return np.stack([a[i, 0] * x + a[i, 1] * y + a[i, 2] * z for i in range(3)])


def camera_path(camera: CameraSpec, config: RenderConfig, anatomy: Anatomy) -> list[Pose]:
    """Return the poses of a clip's frames and one more after the last one, for the motion of the last frame."""
    seconds = np.arange(config.num_frames + 1) / config.fps
    return [pose_at(camera, config.num_frames / config.fps, anatomy, float(t)) for t in seconds]


def pose_at(camera: CameraSpec, duration: float, anatomy: Anatomy, seconds: float) -> Pose:
    """Return the pose at one moment.

    The camera follows the axis at a distance from it, sways with the hand, the breath and the pulse, and looks ahead
    along the lumen, drawn towards the aim while its window lasts.

    Args:
        camera: The path.
        duration: Length of the clip in seconds; the aim's window is a fraction of it.
        anatomy: Tables of the tube.
        seconds: The moment.
    """
    sway = _Sway(camera, seconds)
    z = camera.start_z + camera.speed * seconds + 0.25 * camera.wobble * sway.next()
    x, y, _, _ = anatomy.axis_at(z)
    angle = camera.offset_angle + 0.5 * sway.next()
    free = _free_radius(anatomy, z, angle)
    # At most 85 % of the way to the nearest fold, with room for the scope's own radius.
    away = min(max(camera.offset + 0.35 * camera.wobble * sway.next(), 0.0), 0.85) * max(free - 0.16, 0.0)
    position = np.array([x + away * np.cos(angle), y + away * np.sin(angle), z])

    ahead_x, ahead_y, _, _ = anatomy.axis_at(z + _LOOK_AHEAD)
    forward = _unit(np.array([ahead_x, ahead_y, z + _LOOK_AHEAD]) - position)
    yaw, pitch = camera.gaze[0] + camera.wobble * sway.next(), camera.gaze[1] + camera.wobble * sway.next()
    attention = _window(seconds / duration, camera.aim_window)
    target = anatomy.wall_point(camera.aim_z, camera.aim_theta, 0.1) - position
    forward = _turn(forward, _unit(target), camera.aim * attention - _LOOK_AWAY * (1 - attention))
    roll = camera.roll + camera.roll_rate * seconds + 0.6 * camera.wobble * sway.next()
    return Pose(position, _axes(forward, yaw, pitch, roll))


class _Sway:
    """Smooth random motion: each call of :meth:`next` returns the value of another independent curve, about -1 to 1."""

    def __init__(self, camera: CameraSpec, seconds: float) -> None:
        self._rng = np.random.default_rng([camera.seed, 7])
        self._rate, self._seconds = camera.wobble_rate, seconds

    def next(self) -> float:
        # The generator is seeded again for every moment: the order of the calls, not the time, picks the curve.
        phase = self._rng.uniform(0, 2 * np.pi, 4)
        rate = self._rate * np.array([0.45, 1.0, 2.3, 3.7]) * self._rng.uniform(0.8, 1.25, 4)
        amplitude = np.array([0.55, 0.4, 0.14, 0.06])
        return float((np.sin(2 * np.pi * rate * self._seconds + phase) * amplitude).sum())


def _free_radius(anatomy: Anatomy, z: float, angle: float) -> float:
    """Return the smallest radius of the wall around a point, so that no fold is in the camera's way."""
    rows = np.floor((z + np.linspace(-0.25, 0.3, 12)) * (NUM_Z / TUBE_LENGTH)).astype(np.int64) % NUM_Z
    turns = (angle + np.linspace(-0.35, 0.35, 5)) / (2 * np.pi) + 0.5
    columns = np.floor(turns * NUM_THETA).astype(np.int64) % NUM_THETA
    return float(anatomy.radius[np.ix_(rows, columns)].min())


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # numpy's own takes twenty times as long for a single pair.
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def _window(time: float, window: tuple[float, float]) -> float:
    """Return 1 inside a window, 0 outside, with soft edges; times are fractions of the clip."""
    first, last = window
    soft = 0.12
    rise = np.clip((time - first) / soft + 1, 0, 1) if first > 0 else 1.0
    fall = np.clip((last - time) / soft + 1, 0, 1) if last < 1 else 1.0
    value = float(rise * fall)
    return value * value * (3 - 2 * value)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.sqrt((vector * vector).sum())), 1e-9)


def _turn(forward: np.ndarray, target: np.ndarray, weight: float) -> np.ndarray:
    """Rotate ``forward`` towards ``target`` by a fraction of the angle between them, at most 75 degrees.

    A negative weight turns away. The limit keeps the camera from looking backwards (no retroflexion).
    """
    # Rotation in the plane of both vectors; `side` is the unit vector in it perpendicular to `forward`.
    angle = float(np.arccos(np.clip((forward * target).sum(), -1, 1)))
    side = _unit(target - forward * np.cos(angle))
    turned = float(np.clip(weight * angle, -np.deg2rad(45), np.deg2rad(75)))
    return np.cos(turned) * forward + np.sin(turned) * side


def _axes(forward: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the columns right, down, forward of a camera that looks along ``forward``, then turns."""
    down = np.array([0.0, 1.0, 0.0])
    right = _unit(_cross(down, forward))
    down = _cross(forward, right)
    forward = _unit(forward + np.tan(yaw) * right + np.tan(pitch) * down)
    right = _unit(_cross(down, forward))
    down = _cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
