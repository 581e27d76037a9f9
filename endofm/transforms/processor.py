"""From frames to a clip, as the weights expect it."""

from __future__ import annotations

import numpy as np
import torch

from endofm.config import PAD_MULTIPLE, PreprocessConfig
from endofm.errors import InputError
from endofm.transforms.field_of_view import find_field_of_view
from endofm.transforms.functional import (
    Frames,
    as_tensor,
    normalize,
    resize,
    resize_antialiased,
    stretch_values,
)
from endofm.transforms.geometry import Box, Geometry, Position
from endofm.video.clip_windows import clip_times
from endofm.video.frames import VideoSource

_FIELD_OF_VIEW_FRAMES = 16

MIN_SIDE = 16
"""Smallest side of a frame, in pixels, that is taken for a picture rather than for swapped axes."""


class Processor:
    """Turns decoded frames into a clip; the only path from frames to the input of a model.

    Field of view (if a box is given) -> resize of the shorter side -> square crop -> normalise (or what else the
    configuration says). The result depends on the frames, the box and the configuration alone, and a frame gives the
    same numbers alone as within a clip.

    Args:
        config: What to do, stored with the weights.

    Example:
        >>> import numpy as np
        >>> from endofm.config import PAD_MULTIPLE, PreprocessConfig
        >>> from endofm.transforms import Processor
        >>> processor = Processor(PreprocessConfig())
        >>> processor(np.zeros((8, 576, 720, 3), np.uint8)).shape
        torch.Size([3, 8, 224, 224])
    """

    def __init__(self, config: PreprocessConfig) -> None:
        self.config = config

    def __call__(self, frames: Frames, box: Box | None = None) -> torch.Tensor:
        """Return the clip of several frames.

        Args:
            frames: uint8 ``(time, height, width, 3)``, RGB; array, or tensor on any device.
            box: Part of the frames to use, from :meth:`find_field_of_view`; the whole frames if None.

        Returns:
            float32 ``(3, time, crop_size, crop_size)``, normalised, on the device of the frames; with the crop ``fit``
            the sides are those of the padded frame, at most ``crop_size``.

        Raises:
            InputError: If the frames are of another kind or shape, or too small, or the box does not fit.
        """
        tensor = self._checked(frames, "(time, height, width, 3)", 4)
        if tensor.device.type != "cpu":
            return self._pixels(tensor, box).permute(3, 0, 1, 2).contiguous()
        # Frame by frame a large frame stays in the processor's cache; on a GPU one large step is better.
        return torch.stack([self.prepare_frame(frame, box) for frame in tensor], dim=1)

    def prepare_frame(self, frame: Frames, box: Box | None = None) -> torch.Tensor:
        """Return one frame of a clip.

        Args:
            frame: uint8 ``(height, width, 3)``, RGB; array, or tensor on any device.
            box: As for a clip.

        Returns:
            float32 ``(3, crop_size, crop_size)``, normalised, on the device of the frame.

        Raises:
            InputError: As for a clip.
        """
        tensor = self._checked(frame, "(height, width, 3)", 3)
        return self._pixels(tensor, box).permute(2, 0, 1).contiguous()

    def _pixels(self, frames: torch.Tensor, box: Box | None) -> torch.Tensor:
        config = self.config
        geometry = self.geometry(frames.shape[-3], frames.shape[-2], box)
        box = geometry.box
        view = frames[..., box.top : box.bottom, box.left : box.right, :]
        if config.values == "frame":
            view = stretch_values(view).to(torch.uint8)
        make_smaller = resize_antialiased if config.antialias else resize
        small = make_smaller(view, geometry.resized, geometry.crop)
        prepared = self.finish_pixels(small)
        if config.crop == "fit":
            below, right = (-side % PAD_MULTIPLE for side in geometry.resized)
            prepared = torch.nn.functional.pad(prepared, (0, 0, 0, right, 0, below))
        return prepared

    def finish_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Bring pixels that have their size into the range and order of channels of the model's input.

        The last part of preparing a frame; training, which cuts and turns frames in its own ways, does it as well.

        Args:
            pixels: float32 ``(..., height, width, 3)``, RGB, range [0, 255].
        """
        if self.config.values == "frame":
            pixels = stretch_values(pixels)
        prepared = normalize(pixels, self.config.mean, self.config.std)
        return prepared.flip(-1) if self.config.channels == "bgr" else prepared

    @staticmethod
    def _checked(frames: Frames, shape: str, ndim: int) -> torch.Tensor:
        tensor = as_tensor(frames)
        if tensor.dtype != torch.uint8:
            raise InputError(f"frames must be uint8 values from 0 to 255, got {tensor.dtype}")
        if tensor.ndim != ndim or tensor.shape[-1] != 3 or 0 in tensor.shape:
            raise InputError(f"expected RGB frames of shape {shape}, got {tuple(tensor.shape)}")
        if min(tensor.shape[-3:-1]) < MIN_SIDE:
            raise InputError(
                f"frames need at least {MIN_SIDE} x {MIN_SIDE} pixels, got the shape {tuple(tensor.shape)} "
                f"(expected {shape}; are the axes in another order?)"
            )
        return tensor

    def find_field_of_view(self, frames: Frames) -> Box | None:
        """Find the endoscope's image in some frames of a video; see :func:`find_field_of_view`.

        Args:
            frames: uint8 ``(time, height, width, 3)``, best some dozen frames spread over the whole video.

        Returns:
            One box for the whole video. None if the configuration asks for no field-of-view crop, or if there are no
            borders to leave out.

        Raises:
            InputError: If the frames are of another kind or shape.
        """
        tensor = self._checked(frames, "(time, height, width, 3)", 4)
        return find_field_of_view(tensor.cpu().numpy()) if self.config.field_of_view else None

    def find_field_of_view_of(self, source: VideoSource) -> Box | None:
        """Find one box for a whole video, from frames spread over it.

        Args:
            source: Open video.

        Returns:
            As :meth:`find_field_of_view`.
        """
        if not self.config.field_of_view:
            return None
        times = clip_times(0.0, source.end_seconds(), _FIELD_OF_VIEW_FRAMES + 1, 0.0)[:-1]
        frames = [frame.data for frame in source.sample(times.tolist())]
        # A source may change its frame size in the middle; frames of one size are enough to see the borders.
        frames = [frame for frame in frames if frame.shape == frames[0].shape]
        return self.find_field_of_view(np.stack(frames)) if frames else None

    def geometry(self, height: int, width: int, box: Box | None = None) -> Geometry:
        """Return the exact map between the pixels of a source frame and those of the clip.

        Args:
            height: Rows of the source frame.
            width: Columns of the source frame.
            box: The box that the frames are prepared with.

        Raises:
            InputError: If the box does not lie within the frame.
        """
        if self.config.crop == "none":
            return Geometry.squeeze(height, width, size=self.config.crop_size, box=box)
        if self.config.crop == "fit":
            return Geometry.fit(height, width, size=self.config.crop_size, box=box)
        position: Position = 0 if self.config.crop == "published" else 1
        return Geometry.plan(
            height,
            width,
            short_side=self.config.short_side,
            crop_size=self.config.crop_size,
            position=position,
            box=box,
        )

    def describe(self) -> str:
        """Return the preprocessing in words, one step per line."""
        c = self.config
        place = {
            "center": "from the centre",
            "none": "",
            "fit": "",
            "published": "from the left of a landscape frame, the top of a portrait frame (as published)",
        }[c.crop]
        view = "the endoscope's image, without borders and side panels" if c.field_of_view else "whole frames"
        filters = "bilinear, half-pixel centres, no antialiasing"
        if c.antialias:
            filters = "bilinear with antialiasing, as Pillow"
        size = f"{c.crop_size} x {c.crop_size} pixels"
        lines = [
            f"clip:       {c.num_frames} frames spread over {c.window_seconds:g} s",
            f"view:       {view}",
        ]
        if c.values == "frame":
            lines.append("values:     of every frame stretched to the full range, before and after the resize")
        if c.crop == "none":
            lines.append(f"resize:     to {size}, aspect ratio not kept ({filters})")
        elif c.crop == "fit":
            lines.append(f"resize:     longer side to {c.crop_size} pixels ({filters})")
            lines.append(f"pad:        right and bottom with the mean, to multiples of {PAD_MULTIPLE} pixels")
        else:
            lines.append(f"resize:     shorter side to {c.short_side} pixels ({filters})")
            lines.append(f"crop:       {size} {place}")
        lines.append(
            f"normalise:  {c.channels.upper()} in [0, 1], mean {' '.join(f'{v:g}' for v in c.mean)}, "
            f"std {' '.join(f'{v:g}' for v in c.std)}"
        )
        return "\n".join(lines)
