"""Geometry of the endoscope's picture: outline of the field, lens projection, black frame and text panel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import ScopeSpec
from endofm.video.frames import UInt8Array

BLOCK = 4
"""Side in pixels of the blocks of the coarse grid."""

_ASPECT = {"octagon": 1.12, "round": 1.0, "cut_round": 1.25}


@dataclass(frozen=True, eq=False)
class Field:
    """Pixels that show tissue, and the viewing direction of each.

    Attributes:
        height: Frame height in pixels.
        width: Frame width in pixels.
        cover: float32 ``(height, width)``, 1 inside the field, 0 in the black frame, between on the rim.
        pixels: int64 ``(n,)``, flat indices of the pixels to render: the field and a margin that blurs reach into.
        directions: float32 ``(3, n)``, unit vectors in camera axes (right, down, forward).
        radius: float32 ``(n,)``, distance from the middle of the picture, 1 in the field's corners.
        pixel_angle: Angle that one pixel spans in the middle, in radians.
        centre: Middle of the field in pixels, ``(x, y)``.
        half_size: Half the field's width and height in pixels.
        frame: uint8 ``(height, width, 3)``, black frame with the panel's text, beneath the picture.
        overlay: float32 ``(height, width)``, cover of white text over the picture.
        coarse_shape: Rows and columns of a grid of blocks of pixels over the frame.
        coarse_directions: float32 ``(3, rows * columns)``, viewing direction of the middle of each block.
        coarse_index: int64 ``(n,)``, block of each of ``pixels``.
    """

    height: int
    width: int
    cover: Float32Array
    pixels: npt.NDArray[np.int64]
    directions: Float32Array
    radius: Float32Array
    pixel_angle: float
    centre: tuple[float, float]
    half_size: tuple[float, float]
    frame: UInt8Array
    overlay: Float32Array
    coarse_shape: tuple[int, int]
    coarse_directions: Float32Array
    coarse_index: npt.NDArray[np.int64]


@lru_cache(maxsize=8)
def build_field(scope: ScopeSpec, height: int, width: int) -> Field:
    """Return the geometry of a scope's picture in a frame of the given size."""
    panel_width = 0.0
    if scope.panel == "side":
        panel_width = 0.27 * width if width > 1.1 * height else 0.22 * width
    margin = 0.02 * min(width, height) + 1
    aspect = _ASPECT[scope.field_shape]
    half_w = min((width - panel_width) / 2 - margin, aspect * (height / 2 - margin))
    half_h = half_w / aspect
    cx = panel_width + (width - panel_width) / 2 if panel_width else width / 2
    cy = height / 2

    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    x -= np.float32(cx)
    y -= np.float32(cy)
    inside = _signed_inside(scope, x, y, half_w, half_h)
    cover = np.clip(inside + np.float32(0.5), 0, 1)
    rim = max(3.0, 0.012 * width)
    pixels = np.flatnonzero(inside.ravel() > -rim)

    # The angle of view is stated across the longer side; rays are scaled by the corner, the farthest visible point.
    corner = half_w * (1.08 if scope.field_shape == "octagon" else 1.0)
    half_angle = min(np.deg2rad(scope.field_degrees) / 2 * corner / max(half_w, half_h), np.deg2rad(86))

    def directions_of(px: Float32Array, py: Float32Array) -> tuple[Float32Array, Float32Array]:
        # Fisheye projection: the angle off the axis is proportional to the distance from the middle (equidistant),
        # times 1 + k (r^2 - 1), a radial distortion that leaves the corner where it is. Directions are
        # (x, y) / rho * sin(angle), cos(angle).
        rho = np.sqrt(px * px + py * py)
        radius = rho / np.float32(corner)
        squeeze = np.float32(1) + np.float32(scope.distortion) * (radius * radius - 1)
        angle = np.minimum(np.float32(half_angle) * radius * squeeze, np.float32(np.deg2rad(89)))
        sine = np.sin(angle) / np.maximum(rho, np.float32(1e-6))
        return np.ascontiguousarray(np.stack([px * sine, py * sine, np.cos(angle)]).astype(np.float32)), radius

    directions, radius = directions_of(x.ravel()[pixels], y.ravel()[pixels])
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    by, bx = np.mgrid[0:rows, 0:columns].astype(np.float32) * BLOCK + np.float32(BLOCK / 2)
    coarse_directions, _ = directions_of((bx - np.float32(cx)).ravel(), (by - np.float32(cy)).ravel())
    row, column = np.divmod(pixels, width)
    frame, overlay = _text(scope, height, width, panel_width)
    return Field(
        height=height,
        width=width,
        cover=cover,
        pixels=pixels,
        directions=directions,
        radius=radius,
        pixel_angle=float(half_angle * (1 - scope.distortion) / corner),
        centre=(cx, cy),
        half_size=(half_w, half_h),
        frame=frame,
        overlay=overlay,
        coarse_shape=(rows, columns),
        coarse_directions=coarse_directions,
        coarse_index=row // BLOCK * columns + column // BLOCK,
    )


def _signed_inside(scope: ScopeSpec, x: Float32Array, y: Float32Array, half_w: float, half_h: float) -> Float32Array:
    """Return the distance of points to the outline in pixels, positive inside."""
    # The minimum over straight edges and the circle, each a signed distance; diagonal edges are scaled by 1/sqrt(2).
    if scope.field_shape == "octagon":
        box = np.minimum(np.float32(half_w) - np.abs(x), np.float32(half_h) - np.abs(y))
        cut = np.float32(0.86 * half_w + 0.72 * half_h) - np.abs(x) - np.abs(y)
        return np.minimum(box, cut * np.float32(np.sqrt(0.5)))
    circle = np.float32(half_w) - np.sqrt(x * x + y * y)
    return np.minimum(circle, np.float32(half_h) - np.abs(y))


def _text(scope: ScopeSpec, height: int, width: int, panel_width: float) -> tuple[UInt8Array, Float32Array]:
    """Return the black frame with the side panel's text, and the cover of text that is overlaid on the picture."""
    frame = Image.new("RGB", (width, height), (3, 3, 4))
    overlay = Image.new("L", (width, height), 0)
    if scope.panel != "none":
        room = panel_width if panel_width else 0.24 * width
        font = _fitting_font(scope.panel_lines, room - 2, 0.055 * height)
        step = int(font.size * 1.35) + 1
        top = int(0.1 * height) if panel_width else int(0.03 * height)
        target = ImageDraw.Draw(frame if panel_width else overlay)
        for i, line in enumerate(scope.panel_lines):
            fill = (205, 210, 205) if panel_width else 235
            target.text((2, top + i * step), line, fill=fill, font=font)
    return np.asarray(frame).copy(), np.asarray(overlay, np.float32) / np.float32(255)


def _fitting_font(lines: tuple[str, ...], room: float, size: float) -> ImageFont.FreeTypeFont:
    """Return Pillow's built-in font at the largest size at which all lines fit into ``room`` pixels."""
    points = max(size, 5.0)
    while True:
        font = ImageFont.load_default(points)
        assert isinstance(font, ImageFont.FreeTypeFont)
        if points <= 5 or max(font.getlength(line) for line in lines) <= room:
            return font
        points -= 0.5
