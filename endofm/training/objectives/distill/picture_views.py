"""Views of pictures with their targets: both are sampled by the same windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.data.epoch_order import epoch_order
from endofm.data.stills.still_bank import StillBank
from endofm.errors import InputError
from endofm.training.engine.training_task import LoaderSpec
from endofm.training.objectives.distill.camera import draw_windows
from endofm.training.objectives.distill.distill_config import PictureViewConfig
from endofm.training.objectives.distill.target_maps import TargetMaps
from endofm.training.views.view_colours import Coefficients, apply_colour, colour_coefficients
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_draws import draw_appearance
from endofm.transforms.affine import cut_frames, sampling_grid
from endofm.video.clip_windows import Int64Array
from endofm.video.frames import Float64Array


@dataclass(frozen=True, eq=False)
class PictureDraws:
    """The views of a step, as drawn; no pixel is touched yet.

    Attributes:
        pictures: int64 ``(clips,)``, indices.
        windows: float64 ``(clips, frames, 2, 3)``; see :mod:`endofm.training.objectives.distill.camera`.
        colours: Colour changes of each clip.
    """

    pictures: Int64Array
    windows: Float64Array
    colours: tuple[Coefficients, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def matrices(self, size: int) -> Float64Array:
        """Return the affine maps of views of ``size`` points a side, ``(clips, frames, 2, 3)``."""
        return np.concatenate([self.windows[..., :2] / size, self.windows[..., 2:]], axis=-1)


class PictureViews:
    """Draws of one process, epoch after epoch; training data of the loop.

    Every step draws the length of its clips, and holds as many frames whatever that is.

    Args:
        sizes: ``(pictures, 2)``, height and width of each picture.
        config: Views.
        colours: Colour changes.
        spec: The part of the data that this process reads; its batch size counts frames.
        seed: Seed of all draws.

    Raises:
        InputError: If there are fewer pictures than a step takes.
    """

    def __init__(
        self, sizes: Int64Array, config: PictureViewConfig, colours: ViewConfig, spec: LoaderSpec, *, seed: int
    ) -> None:
        self._sizes = sizes
        self._config, self._colours, self._spec, self._seed = config, colours, spec, seed
        self._epoch = self._start = 0
        if not len(self):
            raise InputError(
                f"{len(sizes)} pictures are fewer than a step takes ({spec.batch_size} on each of {spec.world_size} "
                "processes); add pictures, raise objective.pictures_per_clip or reduce run.batch_size"
            )
        if max(config.frames) > spec.batch_size:
            raise InputError(f"a step of {spec.batch_size} frames holds no clip of {max(config.frames)}")

    def __len__(self) -> int:
        return len(self._sizes) // self._spec.world_size // self._spec.batch_size

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Select the epoch to iterate over next, and its first step."""
        self._epoch, self._start = epoch, start

    def __iter__(self) -> Iterator[PictureDraws]:
        spec = self._spec
        order = epoch_order(
            len(self._sizes),
            seed=self._seed,
            epoch=self._epoch,
            shuffle=True,
            rank=spec.rank,
            world_size=spec.world_size,
        )
        for number in range(self._start, len(self)):
            # The length is the same on every process: steps then take equally long.
            shared = np.random.default_rng([self._seed, self._epoch, number])
            frames = int(shared.choice(self._config.frames))
            own = np.random.default_rng([self._seed, self._epoch, number, spec.rank])
            first = number * spec.batch_size
            chosen = order[first : first + spec.batch_size // frames]
            windows = draw_windows(self._sizes[chosen], frames, self._config, own)
            colours = [colour_coefficients(draw_appearance(self._colours, own)) for _ in chosen]
            yield PictureDraws(np.asarray(chosen, np.int64), windows, tuple(colours))


class ViewCutter(nn.Module):
    """Cuts views and their targets out of pictures and maps in memory, on the device that it is moved to.

    Args:
        bank: The pictures.
        maps: The targets of the pictures.
        size: Side of a view in pixels.
        grid: Patches per side of a view.
        colours: Colour changes and normalisation.
    """

    pixels: Tensor

    def __init__(self, bank: StillBank, maps: TargetMaps, *, size: int, grid: int, colours: ViewConfig) -> None:
        super().__init__()
        self.size, self.grid, self.colours, self.picture_sizes = size, grid, colours, bank.sizes
        # Not part of the state: checkpoints would hold all pictures.
        self.register_buffer("pixels", bank.pixels, persistent=False)
        for number, level in enumerate(maps.levels):
            self.register_buffer(f"level{number}", level, persistent=False)
        self.detail = np.log(np.array(maps.sizes) / maps.sizes[0])

    @torch.no_grad()
    def forward(self, draws: PictureDraws) -> tuple[Tensor, Tensor]:
        """Return clips and targets.

        Returns:
            Normalised clips, float32 ``(clips, 3, frames, size, size)``, and the targets of their patches, float32
            ``(clips, frames, grid, grid, components)``.
        """
        sizes = self.picture_sizes[draws.pictures]
        rows = torch.from_numpy(draws.pictures).to(self.pixels.device)
        frame = (self.size, self.size)
        pixels = cut_frames(self.pixels[rows], draws.matrices(self.size), frame, sizes=sizes)
        return apply_colour(pixels, draws.colours, self.colours), self.targets(draws, sizes, rows)

    def targets(self, draws: PictureDraws, sizes: Int64Array, rows: Tensor) -> Tensor:
        """Return the maps at the centres of the views' patches, ``(clips, frames, grid, grid, components)``."""
        grid = sampling_grid(draws.matrices(self.grid), sizes, (self.grid, self.grid), device=rows.device)
        # Each clip takes the map in which a cell of the teacher is closest to a patch of the view.
        covered = np.abs(np.linalg.det(draws.windows[..., :2])).mean(axis=1) / sizes.prod(axis=1)
        nearest = np.abs(self.detail + np.log(covered)[:, None] / 2).argmin(axis=1)
        frames = draws.windows.shape[1]
        levels = [getattr(self, f"level{number}") for number in range(len(self.detail))]
        out = grid.new_empty((len(draws), frames, self.grid, self.grid, levels[0].shape[1]))
        for number, level in enumerate(levels):
            members = torch.from_numpy(np.flatnonzero(nearest == number)).to(rows.device)
            if len(members):
                values = level[rows[members]].float()
                sampled = F.grid_sample(values, grid[members], padding_mode="border", align_corners=False)
                out[members] = torch.unflatten(sampled, 2, (frames, self.grid)).movedim(1, -1)
        return out
