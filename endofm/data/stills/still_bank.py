"""Stills that are decoded once and held in memory, for training that reads each of them hundreds of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from endofm.data.clip_dataset import clip_generator
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.stills.virtual_camera import CameraConfig, CameraDraw, CameraPaths, camera_paths
from endofm.errors import InputError
from endofm.transforms.affine import cut_frames


@dataclass(frozen=True, eq=False)
class StillBank:
    """Decoded stills, all resized to one square; the camera still sees each in its own proportions.

    Attributes:
        pixels: uint8 ``(stills, 3, side, side)``, RGB.
        sizes: int64 ``(stills, 2)``, height and width of the files in pixels.
        ids: Names of the stills; the random numbers depend on them.
    """

    pixels: Tensor
    sizes: npt.NDArray[np.int64]
    ids: tuple[str, ...]

    @classmethod
    def read(cls, paths: Sequence[Path], ids: Sequence[str] | None = None, *, side: int = 256) -> StillBank:
        """Decode image files.

        Args:
            paths: The files.
            ids: Their names; by default the file names.
            side: Side of the stored squares in pixels. A still takes ``3 * side * side`` bytes.

        Raises:
            InputError: If there are none.
            VideoError: If one cannot be read.
        """
        if not paths:
            raise InputError("there are no stills to read")
        pixels = np.empty((len(paths), side, side, 3), np.uint8)
        sizes = np.empty((len(paths), 2), np.int64)
        for row, path in enumerate(paths):
            frame = read_frame(path)
            sizes[row] = frame.shape[:2]
            # Antialiased: stills of full size are several times larger than the stored square.
            pixels[row] = np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.BILINEAR))
        names = tuple(ids) if ids is not None else tuple(path.name for path in paths)
        return cls(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), sizes, names)

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> StillBank:
        """Return the bank with its pixels on a device."""
        return replace(self, pixels=self.pixels.to(device))

    def paths(self, indices: Sequence[int], config: CameraConfig, *, seed: int, epoch: int = 0) -> CameraPaths:
        """Return the camera's paths over some stills; a still that is listed twice gets two paths.

        A path depends on the seed, the epoch, the still's name and how often it came before in ``indices``.
        """
        seen: dict[int, int] = {}
        draws = []
        for index in indices:
            repeat = seen[index] = seen.get(index, -1) + 1
            name = f"{self.ids[index]}#{repeat}" if repeat else self.ids[index]
            draws.append(CameraDraw.draw(config, clip_generator(seed, epoch, name)))
        frame = (config.size, config.size)
        return camera_paths(draws, self.sizes[list(indices)], num_frames=config.num_frames, frame=frame)

    def cut(self, indices: Sequence[int], paths: CameraPaths, size: int) -> Tensor:
        """Return the frames of clips, float32 ``(clips, time, 3, size, size)``, range [0, 255], on the bank's device.

        Args:
            indices: The still of each path.
            paths: Paths for frames of ``size`` pixels.
            size: Side of the frames.
        """
        rows = torch.as_tensor(list(indices), device=self.pixels.device)
        frames = cut_frames(self.pixels[rows], paths.matrices, (size, size), sizes=self.sizes[list(indices)])
        gains = torch.from_numpy(paths.gains).float().to(frames.device, non_blocking=True)
        return (frames * gains[..., None, None, None]).clamp_(0, 255)
