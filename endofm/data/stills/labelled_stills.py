"""Stills in the forms that fine-tuning reads: clips with masks, and videos with boxes, of one frame each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from endofm.data.detection.detection_set import (
    DetectionSet,
    LabelledBox,
    LabelledVideo,
    label_index,
    make_frame,
)
from endofm.data.segmentation.mask_reading import read_mask_values
from endofm.data.segmentation.masked_clips import MaskedClip
from endofm.data.stills.layouts import read_stills
from endofm.data.stills.still import Still, StillBox
from endofm.data.stills.still_clip import mask_regions, region_corners
from endofm.errors import InputError, VideoError
from endofm.video.images import open_image, upright_size

MASK_LABEL = "polyp"
"""Class of the boxes around the regions of masks, unless one is named."""


def masked_stills(sources: Sequence[str], part: str | None, *, left_out: list[str] | None = None) -> list[MaskedClip]:
    """Return the stills of a subset as clips with a mask.

    Args:
        sources: Folders and lists; see :func:`~endofm.data.stills.layouts.read_stills`.
        part: ``"train"``, ``"val"`` or ``"test"``, or None for all; the result is empty if no source has it.
        left_out: List that notes on images that are left out are appended to; by default they are an error.

    Raises:
        InputError: If a source cannot be read, or a still has no mask.
    """
    clips = []
    for source in sources:
        listing = read_stills(source)
        notes = listing.left_out(source, allow=left_out is not None)
        if left_out is not None:
            left_out += [note for note in notes if note not in left_out]
        for still in (listing.part(part) if part else listing).stills:
            if still.mask is None:
                raise InputError(f"{source}: {still.name} has no mask; segmentation learns from stills with masks")
            clips.append(MaskedClip(still.name, still.group or still.name, (still.path,), (still.mask,), 1))
    return clips


def boxed_stills(
    source: str, part: str, labels: Sequence[str] = (), *, clip: bool = False, allow_missing: bool = False
) -> DetectionSet:
    """Return the stills of a subset as videos of one frame; masks give a box around each of their regions.

    Args:
        source: Folder or list.
        part: ``"train"``, ``"val"`` or ``"test"``.
        labels: Names of the classes in order; those that occur in any subset by default.
        clip: See :func:`~endofm.data.detection.detection_set.make_frame`.
        allow_missing: Leave out images without annotations, with a note, instead of refusing the source.

    Raises:
        InputError: If the source cannot be read or has no such subset, a still has neither boxes nor a mask, or a box
            is impossible.
    """
    listing = read_stills(source)
    stills = [_boxed(source, still, labels) for still in listing.part(part).stills]
    if not stills:
        raise InputError(f"{source}: there are no stills of the subset {part!r} in it")
    known = {box.label for still in listing.stills for box in still.boxes or ()}
    known |= {box.label for still in stills for box in still.boxes or ()}
    names = tuple(labels) or tuple(sorted(known))
    notes = listing.left_out(source, allow=allow_missing)
    videos = []
    for still in stills:
        name = f"{source}: {still.name}"
        boxes = [
            LabelledBox((box.x1, box.y1, box.x2, box.y2), label_index(box.label, names, name), name)
            for box in still.boxes or ()
        ]
        try:
            with open_image(still.path) as image:
                height, width = upright_size(image)
        except VideoError as error:
            raise InputError(f"{name}: {error}") from error
        frame = make_frame(still.path, 1, (width, height), boxes, clip=clip, notes=notes)
        videos.append(LabelledVideo(still.name, still.group or still.name, 1.0, (frame,)))
    return DetectionSet(f"{source}: {part}", names, tuple(videos), tuple(notes))


def _boxed(source: str, still: Still, labels: Sequence[str]) -> Still:
    if still.boxes is not None:
        return still
    if still.mask is None:
        raise InputError(f"{source}: {still.name} has neither boxes nor a mask; detection learns from either")
    try:
        corners = region_corners(*mask_regions(read_mask_values(still.mask)))
    except VideoError as error:
        raise InputError(f"{source}: {still.name}: {error}") from error
    label = labels[0] if len(labels) == 1 else MASK_LABEL
    return replace(still, boxes=tuple(StillBox(label, *box) for box in corners.tolist()))
