"""Drawn endoscopy screens whose true field of view is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from endofm.transforms.geometry import Box

UInt8Array = npt.NDArray[np.uint8]

DEFAULT_VIEW = Box(40, 200, 400, 400)


@dataclass(frozen=True)
class Scene:
    """A screen of an endoscopy tower.

    ``text`` holds (top, left, lines) of white letters, ``panels`` grey boxes with letters, ``pictures`` small moving
    second pictures.
    """

    size: tuple[int, int] = (480, 640)
    view: Box = DEFAULT_VIEW
    shape: str = "round"
    brightness: float = 110.0
    black: float = 0.0
    noise: float = 0.0
    text: tuple[tuple[int, int, int], ...] = ()
    panels: tuple[Box, ...] = ()
    pictures: tuple[Box, ...] = ()
    fades: int = 0
    still: bool = False
    num_frames: int = 16


def shape_mask(shape: str, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the view's shape filling a box of the given size."""
    y = np.abs((np.arange(height) + 0.5) / height * 2 - 1)[:, None]
    x = np.abs((np.arange(width) + 0.5) / width * 2 - 1)[None]
    return {
        "round": y**2 + x**2 <= 1,
        "octagonal": y + x <= 1.5,
        "rectangular": np.ones((height, width), np.bool_),
        # A round image that the sensor cuts off above and below.
        "truncated": (0.8 * y) ** 2 + x**2 <= 1,
    }[shape]


def tissue(height: int, width: int, brightness: float, phase: float) -> npt.NDArray[np.float64]:
    """Return a reddish moving texture, darker towards a rim, with a dark lumen and glare."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = np.sin(9 * x + 3 * phase) * np.sin(7 * y - 2 * phase) + 0.5 * np.sin(23 * (x - y) + 5 * phase)
    centre = 0.5 + 0.15 * np.array([np.sin(phase), np.cos(1.3 * phase)])
    distance = np.hypot(y - centre[0] * height / max(height, width), x - centre[1] * width / max(height, width))
    shade = brightness * (1 + 0.35 * waves) * np.clip(0.15 + 6 * distance, 0, 1)
    red = shade[..., None] * np.array([1.0, 0.55, 0.45])
    red[(waves > 1.25)] = 255
    return red


def _letters(top: int, left: int, lines: int, frame: Image.Image) -> None:
    draw = ImageDraw.Draw(frame)
    for line in range(lines):
        draw.text((left, top + 16 * line), "NAME A. B. 1970"[: 15 - line % 4], fill=(240, 240, 240))


def render(scene: Scene, seed: int = 0) -> UInt8Array:
    """Return the frames, uint8 ``(time, height, width, 3)``."""
    generator = np.random.default_rng(seed)
    height, width = scene.size
    mask = shape_mask(scene.shape, scene.view.height, scene.view.width)
    frames = []
    for number in range(scene.num_frames):
        phase = 0.0 if scene.still else 0.7 * number
        frame = np.full((height, width, 3), float(scene.black))
        frame += scene.noise * generator.standard_normal((height, width, 1))
        for picture in scene.pictures:
            region = np.s_[picture.top : picture.bottom, picture.left : picture.right]
            frame[region] = tissue(picture.height, picture.width, 150, 2 * phase + 1)
        view = np.s_[scene.view.top : scene.view.bottom, scene.view.left : scene.view.right]
        inside = tissue(scene.view.height, scene.view.width, scene.brightness, phase)
        frame[view][mask] = np.maximum(inside + scene.black, 0)[mask]
        if number < scene.fades or number >= scene.num_frames - scene.fades:
            frame *= 0.04
        image = Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8))
        for panel in scene.panels:
            box = [panel.left, panel.top, panel.right - 1, panel.bottom - 1]
            ImageDraw.Draw(image).rectangle(box, fill=(90, 95, 100))
            _letters(panel.top + 10, panel.left + 4, (panel.height - 20) // 16, image)
        for top, left, lines in scene.text:
            _letters(top, left, lines, image)
        frames.append(np.asarray(image))
    return np.stack(frames)
