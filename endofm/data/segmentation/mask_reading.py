"""Frames and masks of a clip, read from images or video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from endofm.data.prepare.frame_folders import read_frame
from endofm.data.segmentation import MaskRule
from endofm.data.segmentation.masked_clips import MaskedClip
from endofm.errors import InputError, VideoError
from endofm.video.frames import UInt8Array
from endofm.video.images import open_image
from endofm.video.open import open_video

_HALF = 127


def read_frames(clip: MaskedClip, indices: Sequence[int]) -> UInt8Array:
    """Return frames of a clip, uint8 ``(time, height, width, 3)``, RGB.

    Raises:
        VideoError: If one cannot be read, or differs in size from the others; the message names the file.
    """
    if isinstance(clip.frames, tuple):
        files = [clip.frames[index] for index in indices]
        return _stack([read_frame(file) for file in files], [str(file) for file in files])
    return _read_video(clip.frames, clip, indices)


def read_masks(
    clip: MaskedClip, indices: Sequence[int], size: tuple[int, int], *, rule: MaskRule, num_classes: int
) -> UInt8Array:
    """Return the class of every pixel, uint8 ``(time, height, width)``.

    Args:
        clip: The clip.
        indices: Indices of the masks to read.
        size: Height and width of its frames.
        rule: Meaning of the values.
        num_classes: Number of classes, background included.

    Raises:
        VideoError: If a mask cannot be read, differs in size from its frame or holds values that contradict the rule;
            the message names the file.
    """
    lossy = not isinstance(clip.masks, tuple)
    if isinstance(clip.masks, tuple):
        values = [(read_mask_values(clip.masks[index]), str(clip.masks[index])) for index in indices]
    else:
        frames = _read_video(clip.masks, clip, indices)
        values = [(frame[..., 1], f"{clip.masks}: frame {i}") for frame, i in zip(frames, indices, strict=True)]
    masks = []
    for mask, name in values:
        if mask.shape != size:
            raise VideoError(
                f"{name}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, its frame {size[1]} x {size[0]}"
            )
        masks.append(mask_classes(mask, name, rule=rule, num_classes=num_classes, lossy=lossy))
    return np.stack(masks)


def mask_classes(values: UInt8Array, name: str, *, rule: MaskRule, num_classes: int, lossy: bool = False) -> UInt8Array:
    """Return the classes of the values of a mask.

    Args:
        values: uint8 ``(height, width)``.
        name: Name of the file, for messages.
        rule: Meaning of the values.
        num_classes: Number of classes, background included.
        lossy: Whether values are inexact, as in a video, so that low ones mean nothing.

    Raises:
        VideoError: If the values contradict the rule.
    """
    highest = int(values.max(initial=0))
    if rule == "classes":
        if highest >= num_classes:
            raise VideoError(
                f"{name}: this mask holds the value {highest}, but the classes are 0 to {num_classes - 1}; masks "
                f"that are white on the object need data.masks=bright"
            )
        return values
    # A mask of class indices that is read as bright or white would silently be empty.
    if 0 < highest < num_classes and not lossy:
        raise VideoError(
            f"{name}: the highest value of this mask is {highest}, which looks like the index of a class; set "
            f"data.masks=classes"
        )
    return (values == 255 if rule == "white" else values > _HALF).astype(np.uint8)


def constant_frames(frames: UInt8Array) -> list[int]:
    """Return the indices of frames that hold a single value, as a camera without a signal gives."""
    flat = frames.reshape(len(frames), -1)
    return [int(index) for index in np.flatnonzero(flat.min(1) == flat.max(1))]


def read_mask_values(path: Path) -> UInt8Array:
    """Return the values of a mask file, uint8 ``(height, width)``.

    Raises:
        VideoError: If it cannot be read, or is coloured.
    """
    with open_image(path) as image:
        try:
            if image.mode in ("1", "L", "P"):
                # In an indexed image the indices are the classes, not the colours of the palette.
                array = np.asarray(image.convert("L") if image.mode == "1" else image)
                return np.ascontiguousarray(array, np.uint8)
            colours = np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise VideoError(f"{path}: this mask cannot be decoded ({error})") from error
    if (colours != colours[..., :1]).any():
        raise VideoError(f"{path}: this mask is coloured ({image.mode}); save it as grey values or as an indexed image")
    return np.ascontiguousarray(colours[..., 0])


def _read_video(path: Path, clip: MaskedClip, indices: Sequence[int]) -> UInt8Array:
    # A video is decoded in order of time only; the frames are put back into the requested order afterwards.
    order = np.argsort(indices, kind="stable")
    with open_video(path) as video:
        times = video.frame_times()
        if len(times) != clip.count:
            raise VideoError(
                f"{path}: this video has changed: it had {clip.count} frames when the list was read, now {len(times)}"
            )
        decoded = [frame.data for frame in video.sample(times[np.asarray(indices)[order]].tolist())]
        problems = video.problems
    if len(decoded) < len(indices):
        reason = problems[0] if problems else "it ends early"
        raise VideoError(f"{path}: not all frames can be decoded: {reason}")
    frames: list[UInt8Array] = [decoded[0]] * len(decoded)
    for index, frame in zip(order.tolist(), decoded, strict=True):
        frames[index] = frame
    return np.stack(frames)


def _stack(frames: list[UInt8Array], names: list[str]) -> UInt8Array:
    for frame, name in zip(frames, names, strict=True):
        if frame.shape != frames[0].shape:
            raise VideoError(
                f"{name} is {frame.shape[1]} x {frame.shape[0]} pixels, but {names[0]} is {frames[0].shape[1]} x "
                f"{frames[0].shape[0]}; the frames of a clip must have one size"
            )
    return np.stack(frames)


def require_readable(clips: Sequence[MaskedClip], *, rule: MaskRule, num_classes: int) -> None:
    """Read the first frame and mask of every clip, so that a wrong rule or size is reported before a run starts.

    Raises:
        InputError: Naming the first file that cannot be used.
    """
    for clip in clips:
        try:
            size = read_frames(clip, [0]).shape[1:3]
            read_masks(clip, [0], (size[0], size[1]), rule=rule, num_classes=num_classes)
        except VideoError as error:
            raise InputError(f"{clip.id}: {error}") from error
