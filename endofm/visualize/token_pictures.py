"""Pictures of single frames as an encoder sees them: where it attends, and which patches resemble each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from endofm.arguments import number_argument
from endofm.errors import InputError
from endofm.files import atomic_path
from endofm.tasks.features.results import clock
from endofm.transforms.geometry import Geometry
from endofm.video.box_drawing import draw_boxes
from endofm.video.frames import UInt8Array

if TYPE_CHECKING:
    from torch import Tensor

    from endofm.tasks.features.model import VideoEncoder
    from endofm.video.open import VideoInput

# From black over violet and orange to light yellow: brightness rises evenly, and no colour is that of mucosa.
_HEAT = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], np.float64)
_SHEET_WIDTH = 640
"""Largest width of one picture of a sheet in pixels."""

_MAX_SECONDS = 1e7
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class TokenPicture(NamedTuple):
    """A frame, and a picture of it at the same size.

    Attributes:
        seconds: Time of the frame, seconds after the first.
        frame: uint8 ``(height, width, 3)``, RGB.
        picture: uint8 ``(height, width, 3)``, RGB; grey where the encoder does not look.
    """

    seconds: float
    frame: UInt8Array
    picture: UInt8Array


class _Moment(NamedTuple):
    """A frame, the clip around it, and what maps the clip's patches to the frame."""

    seconds: float
    frame: UInt8Array
    pixels: Tensor
    geometry: Geometry


def attention_pictures(
    model: VideoEncoder,
    video: VideoInput,
    seconds: Iterable[float],
    *,
    window_seconds: float | None = None,
    fps: float | None = None,
    field_of_view: bool | None = None,
) -> list[TokenPicture]:
    """Paint where the last block of an encoder attends: weights of the class token, averaged over heads.

    What a network attends to is no explanation of what it does; it shows at most what it looks at.

    Args:
        model: An encoder of the Endo-FM family, which has :meth:`~endofm.EndoFM.get_last_attention`.
        video: As for :meth:`~endofm.EndoFM.extract_features`.
        seconds: Times of the frames to paint, any number in any order.
        window_seconds: Length of the clips whose middle frames these are; by default that of the weights'
            preprocessing.
        fps: As for extraction.
        field_of_view: As for extraction.

    Returns:
        One picture per time, in order of time: colours from black over violet to yellow, each frame on its own scale.

    Raises:
        InputError: If the encoder has no such attention, or a time is not within the video.
        VideoError: If the video cannot be read.

    Example:
        >>> pictures = attention_pictures(model, "procedure.mp4", [12.0, 75.0])  # doctest: +SKIP
        >>> save_sheet(pictures, "attention.png")  # doctest: +SKIP
    """
    import torch

    attend: Any = getattr(model, "get_last_attention", None)
    if attend is None:
        raise InputError(
            f"{model.config.encoder.describe()}: attention is shown for divided space-time transformers (Endo-FM) "
            "alone; pictures of principal components work for every encoder"
        )
    painted = []
    for moment in _moments(model, video, seconds, window_seconds, fps=fps, field_of_view=field_of_view):
        with torch.inference_mode():
            weights = attend(moment.pixels[None].to(model.device))[0]
        patches = weights[len(weights) // 2, :, 0, 1:].float().mean(0).cpu().numpy()
        strength = _spread(_grid(patches, moment.pixels, model.patch_size))
        painted.append(_paint(moment, _heat(strength), model.patch_size, opacity=0.3 + 0.5 * strength))
    return painted


def pca_pictures(
    model: VideoEncoder,
    video: VideoInput,
    seconds: Iterable[float],
    *,
    window_seconds: float | None = None,
    fps: float | None = None,
    field_of_view: bool | None = None,
) -> list[TokenPicture]:
    """Colour the patches of frames by their first three principal components: equal colours are similar patches.

    The components are those of all given frames together, so that colours mean the same in all of them. Red, green and
    blue are the first, second and third component.

    Args:
        model: An encoder of any kind.
        video: As for :func:`attention_pictures`, like the arguments that follow.
        seconds: As there.
        window_seconds: As there.
        fps: As there.
        field_of_view: As there.

    Returns:
        One picture per time, in order of time.

    Raises:
        InputError: As there.
        VideoError: As there.
    """
    import torch

    moments, grids = [], []
    for moment in _moments(model, video, seconds, window_seconds, fps=fps, field_of_view=field_of_view):
        with torch.inference_mode():
            tokens = model.forward_features(moment.pixels[None].to(model.device)).patch_tokens
        if tokens is None:
            raise InputError(f"{model.config.encoder.describe()}: this encoder has no patch tokens to colour")
        moments.append(moment)
        grids.append(tokens[0, tokens.shape[1] // 2].float().cpu().numpy())
    if not moments:
        return []
    rows = np.concatenate([grid.reshape(-1, grid.shape[-1]) for grid in grids]).astype(np.float64)
    axes = np.linalg.svd(np.cov(rows.T), hermitian=True)[0][:, :3]
    # The sign of a component is arbitrary; the largest weight is positive, so that colours are the same at every call.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    low, high = np.quantile((rows - rows.mean(0)) @ axes, [0.02, 0.98], axis=0)
    painted = []
    for moment, grid in zip(moments, grids, strict=True):
        values = ((grid - rows.mean(0)) @ axes - low) / np.where(high > low, high - low, 1)
        painted.append(
            _paint(moment, 255 * np.clip(values, 0, 1), model.patch_size, opacity=np.full(grid.shape[:2], 0.7))
        )
    return painted


def save_sheet(pictures: Sequence[TokenPicture], path: str | Path) -> Path:
    """Write frames with their times, and the pictures of them to the right, one pair per row.

    Args:
        pictures: At least one.
        path: ``.png``, ``.jpg`` or ``.webp`` to write.

    Returns:
        The path.

    Raises:
        InputError: If there are none, or the suffix is another one.
    """
    path = Path(path)
    if path.suffix.lower() not in _PICTURE_SUFFIXES:
        raise InputError(f"{path}: a picture is written as {', '.join(_PICTURE_SUFFIXES)}")
    if not pictures:
        raise InputError(f"{path}: there are no frames to draw")
    height, width = pictures[0].frame.shape[:2]
    size = (min(width, _SHEET_WIDTH), round(height * min(1.0, _SHEET_WIDTH / width)))
    rows = []
    for one in pictures:
        frame, picture = (np.array(Image.fromarray(part).resize(size)) for part in (one.frame, one.picture))
        frame = draw_boxes(frame, np.zeros((0, 4)), (), (), notice=clock(one.seconds))
        rows.append(np.hstack([frame, draw_boxes(picture, np.zeros((0, 4)), (), ())]))
    with atomic_path(path) as temporary:
        Image.fromarray(np.vstack(rows)).save(temporary)
    return path


def _moments(
    model: VideoEncoder,
    video: VideoInput,
    seconds: Iterable[float],
    window_seconds: float | None,
    **options: Any,
) -> list[_Moment]:
    """Return the frames at some times, in order of time, each with the clip of which it is the middle frame."""
    import torch

    with model._session(video, **options) as (_, source, processor):
        end = float(source.end_seconds())
        times = [number_argument(time, "a time in the video", low=0, high=_MAX_SECONDS) for time in sorted(seconds)]
        if times and times[-1] > max(end, 0):
            raise InputError(f"{source.metadata.name}: there is no frame at {times[-1]:g} s, it ends at {end:g} s")
        window = processor.config.window_seconds if window_seconds is None else window_seconds
        window = number_argument(window, "window_seconds", low=1e-3, high=_MAX_SECONDS)
        box = processor.find_field_of_view_of(source)
        count, middle = model.num_frames, model.num_frames // 2
        offsets = (np.arange(count) - middle) * window / count
        last = max(float(source.frame_times()[-1]), 0.0)
        found = []
        for time in times:
            wanted = np.clip(min(time, last) + offsets, 0, last).tolist()
            frames = list(source.sample(wanted))
            if not frames:
                continue
            shown = frames[min(middle, len(frames) - 1)]
            # A damaged end gives fewer frames; the last one stands for the rest.
            frames += [frames[-1]] * (count - len(frames))
            pixels = torch.stack([processor.prepare_frame(frame.picture, box) for frame in frames], dim=1)
            height, width = shown.data.shape[:2]
            geometry = processor.geometry(height, width, box)
            found.append(_Moment(shown.pts_seconds, shown.data, pixels, geometry))
        return found


def _grid(patches: npt.NDArray[np.floating], pixels: Tensor, patch_size: int) -> npt.NDArray[np.floating]:
    return patches.reshape(pixels.shape[-2] // patch_size, pixels.shape[-1] // patch_size)


def _spread(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return values on a scale from 0 to 1; a single outlier does not use it up."""
    low, high = np.quantile(values, [0.05, 0.99])
    return np.asarray(np.clip((values - low) / max(float(high - low), 1e-12), 0, 1), np.float64)


def _heat(strength: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    steps = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(strength, steps, _HEAT[:, channel]) for channel in range(3)], axis=-1)


def _paint(
    moment: _Moment, colours: npt.NDArray[np.floating], patch_size: int, *, opacity: npt.NDArray[np.float64]
) -> TokenPicture:
    """Lay colours of patches ``(rows, columns, 3)``, range [0, 255], over the part of the frame that they stand for."""
    geometry, frame = moment.geometry, moment.frame
    height, width = frame.shape[:2]
    corners = geometry.to_source([0, 0, geometry.crop.width, geometry.crop.height])
    left, top, right, bottom = (round(float(value)) for value in corners)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    size = (max(right - left, 1), max(bottom - top, 1))
    # Padding that follows the picture in a fitted clip is not shown.
    part = (0.0, 0.0, geometry.crop.width / patch_size, geometry.crop.height / patch_size)

    def enlarged(layer: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        image = Image.fromarray(layer.astype(np.float32))
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=part), np.float32)

    grey = frame.mean(axis=2, keepdims=True) / 2
    out = np.broadcast_to(grey, frame.shape).copy()
    layer = np.stack([enlarged(colours[..., channel]) for channel in range(3)], axis=-1)
    mix, inside = enlarged(opacity)[..., None], np.s_[top : top + size[1], left : left + size[0]]
    out[inside] = mix * layer + (1 - mix) * frame[inside]
    return TokenPicture(moment.seconds, frame, np.rint(np.clip(out, 0, 255)).astype(np.uint8))
