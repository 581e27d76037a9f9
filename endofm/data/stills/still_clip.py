"""Clip of one still: frames, masks and boxes along one path of the virtual camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from endofm.data.stills.virtual_camera import CameraConfig, CameraDraw, camera_paths
from endofm.transforms.affine import cut_frames, cut_masks, move_boxes
from endofm.transforms.regions import label_regions
from endofm.video.frames import UInt8Array

LEAST_INSIDE = 0.25
"""Part of an object's area that has to be inside the frame; of less, one cannot tell what it is."""


_SPECK = 2e-4
"""Part of a still below which a region of its mask is a slip of the pen or of the compression."""
_COARSE = 128
"""Cells along the longer side at which regions are separated; their borders stay exact."""


@dataclass(frozen=True, eq=False)
class StillClip:
    """Frames of a still and their map to it.

    Attributes:
        frames: uint8 ``(time, size, size, 3)``, RGB.
        matrices: float64 ``(time, 2, 3)``, from pixels of the frames to pixels of the still.
    """

    frames: UInt8Array
    matrices: npt.NDArray[np.float64]

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return (self.frames.shape[1], self.frames.shape[2])

    def masks(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the mask of every frame, ``(time, size, size)``, for the mask of the still, ``(height, width)``."""
        moved = cut_masks(torch.from_numpy(np.array(mask))[None], self.matrices[None], self.frame)
        return moved[0].numpy()

    def boxes(self, boxes: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the boxes of every frame, and whether enough of each is inside it.

        Args:
            boxes: ``(n, 4)``, x1, y1, x2, y2 in pixels of the still.

        Returns:
            Boxes limited to the frame, ``(time, n, 4)``, and ``(time, n)``.
        """
        moved, inside = move_boxes(boxes, self.matrices, self.frame)
        return moved, inside >= LEAST_INSIDE

    def region_boxes(
        self, regions: npt.NDArray[np.int64], count: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the boxes of regions of a mask, exact for any turn, and whether enough of each is inside the frame.

        Args:
            regions: ``(height, width)``, number of the region of every pixel of the still from 1; 0 outside of all.
            count: Number of regions.

        Returns:
            As :meth:`boxes`; zeros for a region that left the frame.
        """
        moved = self.masks(regions.astype(np.int32))
        boxes = np.stack([region_corners(numbers, count) for numbers in moved])
        areas = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        seen = np.stack([np.bincount(numbers.ravel(), minlength=count + 1)[1:] for numbers in moved])
        scale = np.abs(np.linalg.det(self.matrices[:, :, :2]))  # pixels of the still per pixel of the frame
        return boxes, (seen > 0) & (seen * scale[:, None] >= LEAST_INSIDE * areas)


def still_clip(draw: CameraDraw, config: CameraConfig, still: UInt8Array) -> StillClip:
    """Return the clip of a still.

    Args:
        draw: The camera's path.
        config: Number and size of the frames.
        still: uint8 ``(height, width, 3)``, RGB.
    """
    frame = (config.size, config.size)
    paths = camera_paths([draw], [still.shape[:2]], num_frames=config.num_frames, frame=frame)
    image = torch.from_numpy(np.ascontiguousarray(still.transpose(2, 0, 1)))
    pixels = cut_frames(image[None], paths.matrices, frame)[0]
    pixels *= torch.from_numpy(paths.gains[0]).float()[:, None, None, None]
    frames = pixels.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return StillClip(frames.numpy(), paths.matrices[0])


def region_corners(regions: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    """Return the boxes around regions, x1, y1, x2, y2 in pixels, ``(count, 4)``; zeros for a region without pixels.

    Args:
        regions: ``(height, width)``, number of the region of every pixel from 1, 0 outside of all.
        count: Number of regions.
    """
    boxes = np.zeros((count, 4))
    for number in range(1, count + 1):
        rows, columns = np.nonzero(regions == number)
        if len(rows):
            boxes[number - 1] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return boxes


def mask_regions(values: UInt8Array) -> tuple[npt.NDArray[np.int64], int]:
    """Return the separate objects of a mask.

    Args:
        values: uint8 ``(height, width)``: above 127 on objects, or small numbers of classes, 0 for the background.

    Returns:
        Number of the region of every pixel from 1, 0 outside, int64 ``(height, width)``; and the number of regions.
    """
    mask = np.asarray(values > (127 if values.max(initial=0) > 127 else 0))
    height, width = mask.shape
    cell = -(-max(height, width) // _COARSE)
    padded = np.pad(mask, ((0, -height % cell), (0, -width % cell)))
    coarse = padded.reshape(padded.shape[0] // cell, cell, padded.shape[1] // cell, cell).any(axis=(1, 3))
    labels = np.repeat(np.repeat(label_regions(np.asarray(coarse)), cell, 0), cell, 1)[:height, :width] * mask
    numbers, areas = np.unique(labels[labels > 0], return_counts=True)
    kept = numbers[areas >= _SPECK * mask.size]
    # The numbers of kept regions become 1, 2, ...; those of all others 0.
    position = np.searchsorted(kept, labels)
    found = np.append(kept, 0)[position] == labels
    return np.where(found & (labels > 0), position + 1, 0), len(kept)
