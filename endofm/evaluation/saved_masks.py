"""Masks that ``endofm segment`` has saved, found by the clip that they belong to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from endofm.data.segmentation.masked_clips import MaskedClip
from endofm.errors import InputError
from endofm.inference.job_manifest import read_entries
from endofm.tasks.segmentation.results import VideoMasks
from endofm.video.frames import UInt8Array


class SavedMasks:
    """Folder of ``.json`` files of masks with a manifest.

    Args:
        folder: Folder that ``endofm segment`` has filled.

    Attributes:
        labels: Names of the classes, background first.
        provenance: How the masks of the first video were computed.

    Raises:
        InputError: If it is no such folder, it has no masks as ``.json``, or two files have other classes.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._files = {
            os.path.realpath(entry.source): self._folder / entry.output
            for entry in read_entries(folder)
            if entry.output.endswith(".json")
        }
        if not self._files:
            raise InputError(f"{folder}: there are no masks as .json in it; write them with `endofm segment`")
        first = VideoMasks.load(next(iter(self._files.values())))
        self.labels, self.provenance = first.labels, first.provenance

    def predict(self, clip: MaskedClip, frames: UInt8Array, truth: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
        """Return saved and true masks of a clip, uint8 ``(frames, height, width)``.

        Raises:
            InputError: If there are none of this clip, or they have other classes, frames or sizes.
        """
        source = clip.frames if isinstance(clip.frames, Path) else clip.frames[0]
        file = self._files.get(os.path.realpath(source)) or self._files.get(os.path.realpath(source.parent))
        if file is None:
            raise InputError(f"{self._folder} has no masks of {source}")
        masks = VideoMasks.load(file)
        if masks.labels != self.labels:
            raise InputError(f"{file}: the classes are {', '.join(masks.labels)}, not {', '.join(self.labels)}")
        shape = (len(masks), masks.height, masks.width)
        if shape != truth.shape:
            raise InputError(
                f"{file}: {shape[0]} masks of {shape[1]} x {shape[2]} (height x width), but the clip has "
                f"{truth.shape[0]} of {truth.shape[1]} x {truth.shape[2]}; segment every frame"
            )
        return np.asarray(masks.to_array()), truth
