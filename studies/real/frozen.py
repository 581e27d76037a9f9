"""Frozen encoders and controls: from pictures to one embedding each, and to one for each patch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from endofm.config import ModelConfig
from endofm.errors import InputError
from endofm.models.encoder import VideoTransformer
from endofm.tasks.features.model import EndoFM
from endofm.training.objectives.distill.distill_config import PACKAGED_TEACHER, TeacherConfig
from endofm.training.objectives.distill.teachers import load_teachers
from endofm.video.frames import UInt8Array
from studies.real.probe_sets import GRID

Float32Array = npt.NDArray[np.float32]

_BATCH = 32
IMAGENET_SIZE = 192
"""Side of the pictures for the ImageNet network: its map then has the 6 x 6 cells of the probes of patches."""


class Frozen(Protocol):
    """Turns pictures into embeddings.

    Attributes:
        key: Changes when the embeddings would; empty where they must not be kept.
    """

    key: str

    def embed(self, pictures: Sequence[UInt8Array]) -> Float32Array | None:
        """Return ``(pictures, width)``; None if it has no embedding of a picture."""

    def patches(self, pictures: Sequence[UInt8Array]) -> Float32Array | None:
        """Return ``(pictures, 6, 6, width)``; None if it has no embeddings of patches."""


def squashed(pictures: Sequence[UInt8Array], size: int) -> UInt8Array:
    """Return pictures resized to a square, antialiased and without a crop, uint8 ``(pictures, size, size, 3)``."""
    return np.stack([np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BILINEAR)) for p in pictures])


class ColourHistogram:
    """Control: 64 bins, four of each colour; a patch is described by colours and position."""

    key = "histogram-2"

    def embed(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        """Return the square roots of the bins' shares, whose products compare distributions (Hellinger)."""
        bins = [(p >> 6).reshape(-1, 3) @ np.array([16, 4, 1]) for p in pictures]
        return np.stack([np.sqrt(np.bincount(b, minlength=64) / len(b)) for b in bins]).astype(np.float32)

    def patches(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        """Return mean and deviation of the patch, means of its neighbours and of the picture, and the position."""
        cells = squashed(pictures, GRID * 16).astype(np.float32) / 255
        cells = cells.reshape(len(pictures), GRID, 16, GRID, 16, 3).transpose(0, 1, 3, 2, 4, 5)
        mean, deviation = cells.mean(axis=(3, 4)), cells.std(axis=(3, 4))
        padded = np.pad(mean, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        around = [padded[:, y : y + GRID, x : x + GRID] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
        picture = np.broadcast_to(mean.mean(axis=(1, 2), keepdims=True), mean.shape)
        y, x = np.mgrid[:GRID, :GRID] / (GRID - 1) * 2 - 1
        position = np.broadcast_to(np.stack([x, y, x * x, y * y, x * y], -1), (*mean.shape[:3], 5))
        return np.concatenate([mean, deviation, *around, picture, position], axis=-1).astype(np.float32)


class Thumbnail:
    """Control: the picture at 8 x 8 pixels."""

    key = "thumbnail-1"

    def embed(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        """Return its pixels."""
        return squashed(pictures, 8).reshape(len(pictures), -1).astype(np.float32) / 255

    def patches(self, pictures: Sequence[UInt8Array]) -> None:
        """Return nothing."""


@dataclass(frozen=True, eq=False)
class VideoEncoder:
    """An encoder of this package; a picture is a clip whose frames are all equal.

    Attributes:
        model: The encoder.
        key: See :class:`Frozen`.
        frames: Frames of a clip.
    """

    model: VideoTransformer
    config: ModelConfig
    key: str
    frames: int

    def embed(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        """Return class tokens."""
        return np.concatenate([self._tokens(part)[0] for part in _parts(pictures)])

    def patches(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        """Return patch tokens, averaged over time."""
        return np.concatenate([self._tokens(part)[1] for part in _parts(pictures)])

    @torch.no_grad()
    def _tokens(self, pictures: Sequence[UInt8Array]) -> tuple[Float32Array, Float32Array]:
        preprocess = self.config.preprocess
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
        pixels = (_unit(squashed(pictures, preprocess.crop_size)) - mean) / std
        clip = pixels[:, :, None].expand(-1, -1, self.frames, -1, -1).contiguous()
        output = self.model.forward_features(clip)
        return output.cls_token.float().numpy(), _on_grid(output.patch_tokens.float().mean(1).permute(0, 3, 1, 2))


class ImageNetNetwork:
    """Control: EfficientNet-Lite0 with its ImageNet weights, at 192 pixels; the teacher of distillation."""

    key = f"efficientnet-lite0-{IMAGENET_SIZE}-2"

    def __init__(self) -> None:
        (self.teacher,) = load_teachers([TeacherConfig(model=PACKAGED_TEACHER)])

    def embed(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        """Return the means of the last map."""
        return np.concatenate([self._map(part).mean(dim=(2, 3)).numpy() for part in _parts(pictures)])

    def patches(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        """Return the cells of the last map."""
        return np.concatenate([_on_grid(self._map(part)) for part in _parts(pictures)])

    def _map(self, pictures: Sequence[UInt8Array]) -> Tensor:
        return self.teacher.maps(_unit(squashed(pictures, IMAGENET_SIZE)))


def make_frozen(spec: str, *, frames: int | None = None) -> Frozen:
    """Return an encoder or control by its name on the command line.

    Args:
        spec: ``histogram``, ``thumbnail``, ``efficientnet-lite0``; weights as ``EndoFM.from_pretrained`` takes them;
            or ``untrained:WEIGHTS`` or ``untrained:WEIGHTS:SEED`` for random weights in their architecture.
        frames: Frames of a clip; by default those of the encoder's preprocessing.

    Raises:
        EndoFMError: If there are no such weights, or a package is missing.
    """
    controls: dict[str, type[Frozen]] = {
        "histogram": ColourHistogram,
        "thumbnail": Thumbnail,
        "efficientnet-lite0": ImageNetNetwork,
    }
    if spec in controls:
        return controls[spec]()
    if not spec.startswith("untrained:"):
        model = EndoFM.from_pretrained(spec).eval()
        count = frames or model.config.preprocess.num_frames
        return VideoEncoder(model, model.config, f"{_digest(model)}-{count}", count)
    name, _, seed = spec.removeprefix("untrained:").partition(":")
    if seed and not seed.isdigit():
        raise InputError(f"{spec}: expected untrained:WEIGHTS:SEED with an integer seed")
    config = EndoFM.from_pretrained(name).config
    count = frames or config.preprocess.num_frames
    torch.manual_seed(int(seed or 0))
    encoder = VideoTransformer(replace(config.encoder, drop_path_rate=0.0)).eval()
    return VideoEncoder(encoder, config, f"{_digest(encoder)}-{count}", count)


def _digest(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def _parts(pictures: Sequence[UInt8Array]) -> list[Sequence[UInt8Array]]:
    return [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]


def _unit(pixels: UInt8Array) -> Tensor:
    """Return float32 ``(pictures, 3, size, size)`` in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def _on_grid(maps: Tensor) -> Float32Array:
    """Return maps ``(pictures, width, height, width)`` as ``(pictures, 6, 6, width)``."""
    if maps.shape[-2:] != (GRID, GRID):
        maps = F.interpolate(maps, size=(GRID, GRID), mode="bilinear", align_corners=False)
    return maps.permute(0, 2, 3, 1).contiguous().numpy()


def cached(frozen: Frozen, pictures: Sequence[UInt8Array], *, patches: bool, cache: Path | None) -> Float32Array | None:
    """Return embeddings, from a file of an earlier run where there is one.

    Args:
        frozen: The encoder.
        pictures: Its pictures.
        patches: Whether patches are embedded rather than pictures.
        cache: Folder of kept embeddings; None keeps none.
    """
    digest = hashlib.sha256(b"".join(hashlib.sha256(p.tobytes()).digest() for p in pictures)).hexdigest()[:16]
    file = cache / f"{frozen.key}-{'patches' if patches else 'pictures'}-{digest}.npy" if cache is not None else None
    if file is not None and file.is_file():
        return np.asarray(np.load(file, allow_pickle=False), np.float32)
    found = frozen.patches(pictures) if patches else frozen.embed(pictures)
    if file is not None and found is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, found)
    return found
