"""Frozen encoders and controls: from pixels to one embedding per item, and to one per cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from endofm.bench.probe_set import GRID
from endofm.bench.suite import View
from endofm.config import ModelConfig
from endofm.errors import InputError
from endofm.hub.registry import find_record
from endofm.hub.weight_record import WeightRecord
from endofm.kernels.precision import usable_device
from endofm.models.build import build_encoder
from endofm.models.encoder import ClipEncoder
from endofm.tasks.features.model import load_encoder
from endofm.training.objectives.distill.distill_config import PACKAGED_TEACHER, TeacherConfig
from endofm.training.objectives.distill.teachers import load_teachers
from endofm.transforms.processor import Processor
from endofm.video.frames import UInt8Array

Float32Array = npt.NDArray[np.float32]

BATCH = 32
"""Clips of a forward pass."""
IMAGENET_SIZE = 192
"""Side of the pictures for the ImageNet network: its map then has the 6 x 6 cells of the probes."""
UNTRAINED = "untrained:"
"""Beginning of the name of an encoder with random weights."""


class Embedded(NamedTuple):
    """Embeddings of items.

    Attributes:
        items: float32 ``(items, width)``.
        cells: float32 ``(items, 6, 6, width)``, averaged over time; None if the encoder has none.
    """

    items: Float32Array
    cells: Float32Array | None


class Frozen(Protocol):
    """Turns items into embeddings."""

    @property
    def key(self) -> str:
        """A string that changes when the embeddings would."""

    @property
    def device(self) -> torch.device:
        """Device that computes."""

    def embed(self, items: Sequence[UInt8Array], view: View) -> Embedded:
        """Return embeddings of items ``(clips, time, height, width, 3)``, averaged over their clips."""


class ColourHistogram:
    """Control: 64 bins, four of each colour; a cell is described by colours and position."""

    key = "histogram-2"
    device = torch.device("cpu")

    def embed(self, items: Sequence[UInt8Array], view: View) -> Embedded:
        """Return the square roots of the bins' shares, whose products compare distributions (Hellinger)."""
        bins = [(item >> 6).reshape(-1, 3) @ np.array([16, 4, 1]) for item in items]
        shares = np.stack([np.sqrt(np.bincount(b, minlength=64) / len(b)) for b in bins]).astype(np.float32)
        return Embedded(shares, np.stack([_colour_cells(item) for item in items]))


class Thumbnail:
    """Control: every picture at 8 x 8 pixels, averaged over time."""

    key = "thumbnail-1"
    device = torch.device("cpu")

    def embed(self, items: Sequence[UInt8Array], view: View) -> Embedded:
        """Return its pixels."""
        small = [_squashed(_frames(item), 8).reshape(-1, 192).astype(np.float32).mean(0) / 255 for item in items]
        return Embedded(np.stack(small), None)


class ImageNetNetwork:
    """Control: EfficientNet-Lite0 with its ImageNet weights, at 192 pixels; the teacher of distillation."""

    key = f"efficientnet-lite0-{IMAGENET_SIZE}-2"
    device = torch.device("cpu")

    def __init__(self) -> None:
        (self.teacher,) = load_teachers([TeacherConfig(model=PACKAGED_TEACHER)])

    def embed(self, items: Sequence[UInt8Array], view: View) -> Embedded:
        """Return the means and the cells of the last map, over the pictures of an item."""
        pictures = np.concatenate([_squashed(_frames(item), IMAGENET_SIZE) for item in items])
        maps = [self.teacher.maps(_unit(pictures[start : start + BATCH])) for start in range(0, len(pictures), BATCH)]
        counts = [item.shape[0] * item.shape[1] for item in items]
        means = _averaged(torch.cat([part.mean(dim=(2, 3)) for part in maps]), counts)
        return Embedded(means.numpy(), _averaged(torch.cat([_on_grid(part) for part in maps]), counts).numpy())


@dataclass(frozen=True, eq=False)
class BenchEncoder:
    """An encoder of this package; of a still all frames of the clip are equal.

    Attributes:
        model: The encoder.
        config: Its preprocessing.
        key: See :class:`Frozen`.
        frames: Frames of a clip.
    """

    model: ClipEncoder
    config: ModelConfig
    key: str
    frames: int

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    def embed(self, items: Sequence[UInt8Array], view: View) -> Embedded:
        """Return clip embeddings and patch tokens."""
        clips = [self._clip(clip, view) for item in items for clip in item]
        tokens: list[Tensor] = []
        cells: list[Tensor] = []
        for start in range(0, len(clips), BATCH):
            for batch in _equal_shapes(clips[start : start + BATCH]):
                embedded, grid = self._tokens(batch)
                tokens.append(embedded)
                cells.append(grid)
        counts = [len(item) for item in items]
        return Embedded(*(_averaged(torch.cat(parts), counts).numpy() for parts in (tokens, cells)))

    @torch.no_grad()
    def _tokens(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model.forward_features(clips.to(self.device))
        assert output.patch_tokens is not None
        grid = _on_grid(output.patch_tokens.float().mean(1).permute(0, 3, 1, 2))
        return output.cls_token.float().cpu(), grid.cpu()

    def _clip(self, frames: UInt8Array, view: View) -> Tensor:
        """Return a clip ``(3, time, size, size)``: frames evenly spaced among those that were decoded."""
        count = len(frames)
        chosen = np.linspace(0, count - 1, self.frames).round().astype(int)
        # Frames that are shown twice are prepared once.
        used, place = np.unique(chosen, return_inverse=True)
        preprocess = self.config.preprocess
        if view == "own":
            prepared = Processor(preprocess)(frames[used])
        else:
            squashed = _squashed(frames[used], preprocess.crop_size)
            if preprocess.values == "frame" or preprocess.channels == "bgr":
                pixels = Processor(preprocess).finish_pixels(torch.from_numpy(squashed).float()).permute(0, 3, 1, 2)
            else:
                mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
                pixels = (_unit(squashed) - mean) / std
            prepared = pixels.transpose(0, 1)
        return prepared[:, place]


def make_frozen(
    spec: str, *, frames: int | None = None, device: str | None = None, local_files_only: bool = False
) -> Frozen:
    """Return an encoder or control by its name on the command line.

    Args:
        spec: A control of :data:`CONTROLS`; weights as :func:`~endofm.tasks.features.model.load_encoder` takes them; or
            ``untrained:WEIGHTS`` or ``untrained:WEIGHTS:SEED`` for random weights in their architecture.
        frames: Frames of a clip; by default those of the encoder's preprocessing.
        device: Device that computes; controls use the CPU.
        local_files_only: Never touch the network.

    Raises:
        EndoFMError: If there are no such weights, or a package is missing.
    """
    if spec in CONTROLS:
        return CONTROLS[spec]()
    if not spec.startswith(UNTRAINED):
        model = load_encoder(spec, device=device, local_files_only=local_files_only)
        return _encoder(model, model.config, frames)  # type: ignore[arg-type]  # every encoder is a ClipEncoder
    name, seed = architecture_of(spec)
    record = find_record(name)
    config = record.config if record else load_encoder(name, local_files_only=local_files_only).config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(config.encoder).eval()
    return _encoder(encoder.to(usable_device(device)), config, frames)


def architecture_of(spec: str) -> tuple[str, int]:
    """Return weights and seed of ``untrained:WEIGHTS[:SEED]``.

    Raises:
        InputError: If no weights are named.
    """
    name = spec.removeprefix(UNTRAINED)
    head, _, tail = name.rpartition(":")
    # Names of weights have colons too: timm:resnet18.
    name, seed = (head, int(tail)) if head and tail.isdigit() else (name, 0)
    if not name:
        raise InputError(f"{spec}: expected untrained:WEIGHTS or untrained:WEIGHTS:SEED with an integer seed")
    return name, seed


CONTROLS: dict[str, type[Frozen]] = {
    "histogram": ColourHistogram,
    "thumbnail": Thumbnail,
    "efficientnet-lite0": ImageNetNetwork,
}
"""Controls by name."""


def record_of(spec: str) -> WeightRecord | None:
    """Return the record of registered weights; None for controls, untrained encoders and files."""
    return None if spec in CONTROLS or spec.startswith(UNTRAINED) else find_record(spec)


def _encoder(model: ClipEncoder, config: ModelConfig, frames: int | None) -> BenchEncoder:
    count = frames or config.preprocess.num_frames
    described = config.to_dict()
    shown = [described["encoder"], described["preprocess"], count]
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        # As bytes: NumPy has no bfloat16.
        digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return BenchEncoder(model, config, digest.hexdigest()[:24], count)


def _frames(item: UInt8Array) -> UInt8Array:
    return item.reshape(-1, *item.shape[-3:])


def _squashed(pictures: UInt8Array, size: int) -> UInt8Array:
    """Return pictures resized to a square, antialiased and without a crop, uint8 ``(pictures, size, size, 3)``."""
    return np.stack([np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BILINEAR)) for p in pictures])


def _colour_cells(item: UInt8Array) -> Float32Array:
    """Return mean and deviation of a cell, means of its neighbours and of the picture, and the position."""
    cells = _squashed(_frames(item), GRID * 16).astype(np.float32) / 255
    cells = cells.reshape(-1, GRID, 16, GRID, 16, 3).transpose(0, 1, 3, 2, 4, 5)
    mean, deviation = cells.mean(axis=(3, 4)), cells.std(axis=(3, 4))
    padded = np.pad(mean, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[:, y : y + GRID, x : x + GRID] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    picture = np.broadcast_to(mean.mean(axis=(1, 2), keepdims=True), mean.shape)
    y, x = np.mgrid[:GRID, :GRID] / (GRID - 1) * 2 - 1
    position = np.broadcast_to(np.stack([x, y, x * x, y * y, x * y], -1), (*mean.shape[:3], 5))
    described = np.concatenate([mean, deviation, *around, picture, position], axis=-1).astype(np.float32)
    return np.asarray(described.mean(0))


def _unit(pixels: UInt8Array) -> Tensor:
    """Return float32 ``(pictures, 3, size, size)`` in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def _on_grid(maps: Tensor) -> Tensor:
    """Return maps ``(pictures, width, height, width)`` as ``(pictures, 6, 6, width)``."""
    if maps.shape[-2:] != (GRID, GRID):
        maps = F.interpolate(maps, size=(GRID, GRID), mode="bilinear", align_corners=False)
    return maps.permute(0, 2, 3, 1).contiguous()


def _averaged(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the means of consecutive rows."""
    if max(counts) == 1:
        return rows
    ends = np.cumsum(counts).tolist()
    return torch.stack([rows[end - count : end].mean(0) for end, count in zip(ends, counts, strict=True)])


def _equal_shapes(clips: Sequence[Tensor]) -> list[Tensor]:
    """Return clips in batches, one for each run of equal shapes."""
    batches: list[list[Tensor]] = []
    for clip in clips:
        if batches and batches[-1][0].shape == clip.shape:
            batches[-1].append(clip)
        else:
            batches.append([clip])
    return [torch.stack(batch) for batch in batches]
