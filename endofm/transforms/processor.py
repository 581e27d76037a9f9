"""From frames to a clip, as the weights expect it: the :class:`Processor` and its operations on pixels.

The operations are pure functions of frames ``(..., height, width, 3)``, uint8 or float, as numpy array or as tensor on
any device; results are float32 tensors on the same device, in the same range as the frames. The pixel rules are those
of the published evaluation (bilinear, half-pixel centres, no antialiasing), in a cheaper order: resizing and
normalising commute, because the weights of a bilinear mean sum to one, so only the small image is normalised; and only
pixels that survive the crop are computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from endofm.config import PreprocessConfig
from endofm.config.preprocess import Resample
from endofm.errors import InputError
from endofm.transforms.field_of_view import NUM_FRAMES, find_field_of_view
from endofm.transforms.geometry import Box, Geometry, Position
from endofm.transforms.picking import Sampling, can_pick, pick_coded_pixels, pick_pixels
from endofm.video.clip_windows import clip_times
from endofm.video.frames import CodedPicture, VideoSource

Frames = npt.NDArray[np.generic] | torch.Tensor

MIN_SIDE = 16
"""Smallest side of a frame, in pixels; a smaller one usually means that axes were swapped."""


class Processor:
    """Turns decoded frames into a clip; the only path from frames to the input of a model.

    Field of view (if a box is given) -> resize of the shorter side -> square crop -> normalisation, or the steps that
    the configuration has instead. The result depends only on the frames, the box and the configuration, and a frame
    gives the same numbers alone as within a clip.

    Args:
        config: Preprocessing configuration, stored with the weights.

    Example:
        >>> import numpy as np
        >>> from endofm.config import PreprocessConfig
        >>> from endofm.transforms import Processor
        >>> processor = Processor(PreprocessConfig())
        >>> processor(np.zeros((8, 576, 720, 3), np.uint8)).shape
        torch.Size([3, 8, 224, 224])
    """

    def __init__(self, config: PreprocessConfig) -> None:
        self.config = config

    def __repr__(self) -> str:
        c = self.config
        crop = f"crop {c.crop!r} to {c.crop_size}"
        return f"Processor({c.num_frames} frames in {c.window_seconds:g} s, shorter side {c.short_side}, {crop})"

    def __call__(self, frames: Frames, box: Box | None = None) -> torch.Tensor:
        """Return the clip of several frames.

        Args:
            frames: uint8 ``(time, height, width, 3)``, RGB; array, or tensor on any device.
            box: Part of the frames to use, from :meth:`find_field_of_view`; the full frames if None.

        Returns:
            float32 ``(3, time, crop_size, crop_size)``, normalised, on the device of the frames; with the crop ``fit``
            the sides are those of the padded frame, at most ``crop_size``.

        Raises:
            InputError: If the frames have another type or shape or are too small, or the box does not fit.
        """
        tensor = self._checked(frames, "(time, height, width, 3)", 4)
        if tensor.device.type != "cpu":
            return self._finished(self._resized(tensor, box)).permute(3, 0, 1, 2).contiguous()
        # Processed one at a time, a large frame stays in the CPU's cache; a GPU prefers one large step.
        return torch.stack([self.prepare_frame(frame, box) for frame in tensor], dim=1)

    def prepare_frame(self, frame: Frames | CodedPicture, box: Box | None = None) -> torch.Tensor:
        """Return one frame of a clip.

        Args:
            frame: uint8 ``(height, width, 3)``, RGB; array, tensor on any device, or the ``picture`` of a frame of a
                video, of which only the needed pixels are converted to RGB. The result is the same, bit for bit.
            box: As for a clip.

        Returns:
            float32 ``(3, crop_size, crop_size)``, normalised, on the device of the frame.

        Raises:
            InputError: As for a clip.
        """
        return self.finish_frame(self.resize_frame(frame, box))

    def resize_frame(self, frame: Frames | CodedPicture, box: Box | None = None) -> torch.Tensor:
        """Return one frame cut and resized, the first of the two steps of :meth:`prepare_frame`.

        Args:
            frame: As there.
            box: As there.

        Returns:
            float32 ``(crop_size, crop_size, 3)``, range [0, 255].

        Raises:
            InputError: As there.
        """
        c = self.config
        if isinstance(frame, CodedPicture):
            if not c.antialias and c.values != "frame" and min(frame.shape) >= MIN_SIDE and can_pick(frame):
                geometry = self.geometry(*frame.shape, box)
                sampling = Sampling.plan((geometry.box.height, geometry.box.width), geometry.resized, geometry.crop)
                rows, columns = sampling.rows + geometry.box.top, sampling.columns + geometry.box.left
                return sampling.blend(pick_coded_pixels(frame, rows, columns)[None])[0]
            frame = frame.rgb
        return self._resized(self._checked(frame, "(height, width, 3)", 3), box)

    def finish_frame(self, resized: torch.Tensor) -> torch.Tensor:
        """Return a frame of a clip from the result of :meth:`resize_frame`, which is not changed."""
        return self._finished(resized).permute(2, 0, 1).contiguous()

    def _resized(self, frames: torch.Tensor, box: Box | None) -> torch.Tensor:
        config = self.config
        geometry = self.geometry(frames.shape[-3], frames.shape[-2], box)
        box = geometry.box
        view = frames[..., box.top : box.bottom, box.left : box.right, :]
        # As published for segmentation: values are stretched, and truncated to bytes, before the resize and once more
        # after it, in finish_pixels.
        if config.values == "frame":
            view = stretch_values(view).to(torch.uint8)
        if config.antialias:
            return resize_antialiased(view, geometry.resized, geometry.crop, resample=config.resample)
        return resize(view, geometry.resized, geometry.crop)

    def _finished(self, resized: torch.Tensor) -> torch.Tensor:
        prepared = self.finish_pixels(resized)
        if self.config.crop == "fit":
            below, right = (-side % self.config.pad_multiple for side in resized.shape[-3:-1])
            prepared = torch.nn.functional.pad(prepared, (0, 0, 0, right, 0, below))
        return prepared

    def finish_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Bring resized pixels into the value range and channel order of the model's input.

        The last step of preparing a frame; training, which crops and augments frames differently, shares it.

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
            frames: uint8 ``(time, height, width, 3)``, preferably a dozen or more frames spread over the video.

        Returns:
            One box for the complete video. None if the configuration has no field-of-view crop, or if there are no
            borders.

        Raises:
            InputError: If the frames have another type or shape.
        """
        tensor = self._checked(frames, "(time, height, width, 3)", 4)
        return find_field_of_view(tensor.cpu().numpy()) if self.config.field_of_view else None

    def find_field_of_view_of(self, source: VideoSource) -> Box | None:
        """Find one box for a complete video, from frames spread over it.

        Args:
            source: Open video.

        Returns:
            As :meth:`find_field_of_view`.
        """
        if not self.config.field_of_view:
            return None
        times = clip_times(0.0, source.end_seconds(), NUM_FRAMES + 1, 0.0)[:-1]
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
        """Describe the preprocessing, one step per line."""
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
            filters = f"{c.resample} with antialiasing, as Pillow"
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
            lines.append(f"pad:        right and bottom with the mean, to multiples of {c.pad_multiple} pixels")
        else:
            lines.append(f"resize:     shorter side to {c.short_side} pixels ({filters})")
            lines.append(f"crop:       {size} {place}")
        lines.append(
            f"normalise:  {c.channels.upper()} in [0, 1], mean {' '.join(f'{v:g}' for v in c.mean)}, "
            f"std {' '.join(f'{v:g}' for v in c.std)}"
        )
        return "\n".join(lines)


def as_tensor(frames: Frames) -> torch.Tensor:
    """Return the frames as a tensor, without copying where possible.

    Raises:
        InputError: If they are neither an array nor a tensor, or their values are neither uint8 nor float.
    """
    if isinstance(frames, np.ndarray):
        if frames.dtype != np.uint8 and frames.dtype.kind != "f":
            raise InputError(f"frames must be uint8 or float, got {frames.dtype}")
        # torch does not support negative strides, and warns about read-only arrays.
        usable = frames.flags.writeable and all(stride >= 0 for stride in frames.strides)
        return torch.from_numpy(frames if usable else frames.copy())
    if isinstance(frames, torch.Tensor):
        if frames.dtype != torch.uint8 and not frames.is_floating_point():
            raise InputError(f"frames must be uint8 or float, got {frames.dtype}")
        return frames
    raise InputError(f"frames must be a numpy array or a tensor, got {type(frames).__name__}")


def resize(frames: Frames, shape: tuple[int, int], window: Box | None = None) -> torch.Tensor:
    """Resize bilinearly with half-pixel centres and without antialiasing.

    Args:
        frames: ``(..., height, width, channels)``, uint8 or float.
        shape: New height and width.
        window: Part of the resized frame to compute, everything if None.

    Returns:
        float32 ``(..., window.height, window.width, channels)``, in the range of ``frames``.

    Raises:
        InputError: If the frames have the wrong type or the window is not within the resized frame.
    """
    tensor = as_tensor(frames)
    if tensor.ndim < 3 or 0 in tensor.shape:
        raise InputError(f"frames must have the shape (..., height, width, channels), got {tuple(tensor.shape)}")
    window = window or Box(0, 0, *shape)
    if window.bottom > shape[0] or window.right > shape[1]:
        raise InputError(f"{window} does not lie within {shape[0]} x {shape[1]} pixels (height x width)")
    height, width, channels = tensor.shape[-3:]
    flat = tensor.reshape(-1, height, width, channels)
    sampling = Sampling.plan((height, width), shape, window)
    # The four neighbours of every output pixel are selected, as bytes, before anything is computed: a large frame is
    # never converted to float as a whole.
    out = sampling.blend(pick_pixels(flat, sampling.rows, sampling.columns))
    return out.view(*tensor.shape[:-3], window.height, window.width, channels)


def resize_antialiased(
    frames: Frames, shape: tuple[int, int], window: Box | None = None, *, resample: Resample = "bilinear"
) -> torch.Tensor:
    """Resize like Pillow's ``BILINEAR`` or ``BICUBIC``: with a filter as wide as the reduction, rounded to integers.

    Args:
        frames: uint8 ``(..., height, width, channels)``.
        shape: New height and width.
        window: Part of the resized frame to return, everything if None.
        resample: The filter.

    Returns:
        float32 ``(..., window.height, window.width, channels)``, integers in [0, 255], on the frames' device.

    Raises:
        InputError: If the frames are not uint8.
    """
    tensor = as_tensor(frames)
    if tensor.dtype != torch.uint8:
        raise InputError(
            f"frames must be uint8 values from 0 to 255 to be resized as Pillow does it, got {tensor.dtype}"
        )
    window = window or Box(0, 0, *shape)
    flat = tensor.reshape(-1, *tensor.shape[-3:]).movedim(-1, 1)
    # Only for bytes on the CPU does torch use Pillow's fixed-point arithmetic.
    small = torch.nn.functional.interpolate(flat.cpu(), size=shape, mode=resample, align_corners=False, antialias=True)
    out = small[..., window.top : window.bottom, window.left : window.right].movedim(1, -1)
    return out.reshape(*tensor.shape[:-3], *out.shape[-3:]).to(device=tensor.device, dtype=torch.float32)


def stretch_values(frames: Frames) -> torch.Tensor:
    """Stretch the values of every frame to [0, 255], over all pixels and channels together.

    Args:
        frames: ``(..., height, width, channels)``.

    Returns:
        float32 of the same shape. A frame with a single value becomes 0.
    """
    tensor = as_tensor(frames).to(torch.float32)
    low, high = tensor.amin((-3, -2, -1), keepdim=True), tensor.amax((-3, -2, -1), keepdim=True)
    return (tensor - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny) * 255


def normalize(frames: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return ``(frames / 255 - mean) / std`` per channel.

    Args:
        frames: float32 ``(..., channels)``, range [0, 255].
        mean: Per channel, for a range of [0, 1].
        std: Per channel, for a range of [0, 1].

    Returns:
        float32 of the same shape.
    """
    # With the factor 255 folded into mean and deviation, each value needs one subtraction and one product.
    centre = torch.tensor([255 * m for m in mean], dtype=torch.float32, device=frames.device)
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=frames.device)
    return (frames - centre) * scale
