"""What several processors make of the frames of one video: everything that they have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch

from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.video.frames import UInt8Array, VideoSource


class SharedFrames:
    """Prepares the frames of one pass over a video for any number of processors.

    Results are those of each processor alone, bit for bit. The last frame is kept with what was made of it: its copy on
    a GPU, its resized form for every size and way of resizing, its normalised form for every mean and deviation.
    """

    def __init__(self) -> None:
        self._frame: UInt8Array | None = None
        self._made: dict[Hashable, Any] = {}
        self._boxes: dict[bool, Box | None] = {}

    def find_field_of_view(self, processor: Processor, source: VideoSource) -> Box | None:
        """Return what the processor's ``find_field_of_view_of`` returns; frames are read for it once."""
        key = processor.config.field_of_view
        if key not in self._boxes:
            self._boxes[key] = processor.find_field_of_view_of(source)
        return self._boxes[key]

    def prepare(self, frame: UInt8Array, processor: Processor, box: Box | None, device: torch.device) -> torch.Tensor:
        """Return what the processor's ``prepare_frame`` returns, on a device.

        Args:
            frame: uint8 ``(height, width, 3)``, RGB; the same object for every processor that takes it.
            processor: The processor.
            box: Part of the frame to use, the full frame if None.
            device: Device of the result.
        """
        if frame is not self._frame:
            self._frame, self._made = frame, {}
        c = processor.config
        resized = (device, box, c.crop, c.short_side, c.crop_size, c.antialias, c.resample, c.values)
        finished = (*resized, c.channels, c.mean, c.std)

        def resize() -> torch.Tensor:
            return processor.resize_frame(self._on(device, frame), box)

        prepared: torch.Tensor = self._once(finished, lambda: processor.finish_frame(self._once(resized, resize)))
        return prepared

    def _on(self, device: torch.device, frame: UInt8Array) -> Any:
        """Return the frame on a device: as uint8 it is transferred faster than as float32."""
        if device.type != "cuda":
            return frame
        # Pinned memory makes the copy asynchronous: the GPU still computes the batch before.
        return self._once(device, lambda: torch.from_numpy(frame).pin_memory().to(device, non_blocking=True))

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
