"""Targets of a distillation: the teachers' maps of whole pictures, reduced to principal axes, cached in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from endofm.data.stills.still_bank import StillBank
from endofm.errors import ConfigError
from endofm.files import atomic_path
from endofm.training.objectives.distill.pictures import picture_digests
from endofm.training.objectives.distill.teachers import Teacher, joint_maps

PICTURES_AT_A_TIME = 32
"""Pictures that the teachers see at a time on a GPU. On a CPU it is one, which fits into the cache of a core."""

SAMPLED_PICTURES, SAMPLED_PLACES = 256, 24
"""Pictures, and places in each of their maps, whose features the axes are fitted to."""


@dataclass(frozen=True, eq=False)
class TargetAxes:
    """Linear reduction of the teachers' features.

    Attributes:
        mean: ``(channels,)``, subtracted first.
        axes: ``(components, channels)``, principal axes, each divided by a power of its variance.
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, maps: Sequence[Tensor]) -> Tensor:
        """Return ``(batch, components, rows, columns)`` for the maps of all teachers, on their device."""
        joined = torch.cat(list(maps), dim=1)
        centred = joined - self.mean.to(joined.device).view(1, -1, 1, 1)
        return torch.einsum("kc,bchw->bkhw", self.axes.to(joined.device), centred)


def fit_axes(
    features: Tensor, widths: Sequence[int], shares: Sequence[float], components: int, whitening: float
) -> TargetAxes:
    """Fit the principal axes of features.

    Args:
        features: ``(rows, channels)``, the teachers' features side by side.
        widths: Channels of each teacher.
        shares: Total variance that each teacher gets, relative to the others.
        components: Axes to keep; at most as many as there are channels.
        whitening: Exponent: the standard deviation along an axis becomes its power ``1 - whitening``.

    Raises:
        ConfigError: If there are fewer rows than axes.
    """
    components = min(components, features.shape[1])
    if len(features) < components:
        raise ConfigError(
            f"{len(features)} places in the pictures do not determine {components} axes; add pictures, or choose a "
            "narrower encoder"
        )
    mean = features.mean(dim=0)
    centred = (features - mean).double()
    # A teacher with large values would otherwise crowd out the others.
    parts = torch.split(centred, list(widths), dim=1)
    loudness = [(part.square().sum(dim=1).mean() / share).rsqrt() for part, share in zip(parts, shares, strict=True)]
    weight = torch.cat([value.expand(width) for value, width in zip(loudness, widths, strict=True)])
    centred = centred * weight
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    values, vectors = values.flip(0)[:components], vectors.flip(1)[:, :components]
    scaled = vectors * values.clamp_min(1e-12).pow(-whitening / 2)
    return TargetAxes(mean, (scaled.T * weight).float())


@dataclass(frozen=True, eq=False)
class TargetMaps:
    """Targets of all pictures.

    Attributes:
        levels: One float16 tensor ``(pictures, components, rows, columns)`` per size at which the teachers saw them.
        sizes: Those sizes, ascending.
    """

    levels: tuple[Tensor, ...]
    sizes: tuple[int, ...]


def target_maps(
    bank: StillBank,
    teachers: Sequence[Teacher],
    *,
    sizes: Sequence[int],
    components: int,
    whitening: float,
    cache: Path,
    report: Callable[[str], None] = lambda line: None,
) -> TargetMaps:
    """Return the targets of pictures; those in the cache are read, the others computed and written there.

    Names in the cache are checksums of everything that a file depends on, so that a run that was stopped continues and
    no file is ever out of date.

    Args:
        bank: The pictures.
        teachers: The teachers.
        sizes: Sides at which the teachers see a picture.
        components: Width of the targets.
        whitening: See :func:`fit_axes`.
        cache: Folder of the cache.
        report: Called with a line of text now and then.
    """
    ordered = tuple(sorted(sizes))
    digests = picture_digests(bank)
    settings = [
        [(teacher.digest, teacher.share) for teacher in teachers],
        ordered,
        components,
        whitening,
        sorted(digests),
    ]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    axes = _axes(bank, teachers, ordered, components, whitening, cache / f"axes-{key[:24]}.safetensors", report)
    files = [cache / key[:24] / f"{digest[:24]}.safetensors" for digest in digests]
    missing = [number for number, path in enumerate(files) if not path.is_file()]
    together = PICTURES_AT_A_TIME if teachers[0].mean.device.type == "cuda" else 1
    for first in range(0, len(missing), together):
        numbers = missing[first : first + together]
        seen = {str(size): axes(_seen(bank, teachers, numbers, size)).half().cpu() for size in ordered}
        for row, number in enumerate(numbers):
            with atomic_path(files[number]) as temporary:
                save_file({size: maps[row].clone() for size, maps in seen.items()}, temporary)
        done = first + len(numbers)
        if done // 100 > first // 100:
            report(f"{done} of {len(missing)} pictures seen by the teachers")
    rows = [load_file(path) for path in files]
    return TargetMaps(tuple(torch.stack([row[str(size)] for row in rows]) for size in ordered), ordered)


def _axes(
    bank: StillBank,
    teachers: Sequence[Teacher],
    sizes: Sequence[int],
    components: int,
    whitening: float,
    path: Path,
    report: Callable[[str], None],
) -> TargetAxes:
    if path.is_file():
        return TargetAxes(**load_file(path))
    report("fitting the axes of the targets")
    generator = torch.Generator().manual_seed(0)
    sampled = torch.randperm(len(bank), generator=generator)[:SAMPLED_PICTURES]
    features, widths = [], []
    for number in sampled.tolist():
        for size in sizes:
            maps = _seen(bank, teachers, [number], size)
            widths = [m.shape[1] for m in maps]
            flat = torch.cat(maps, dim=1)[0].flatten(1).T.cpu()
            features.append(flat[torch.randperm(len(flat), generator=generator)[:SAMPLED_PLACES]].clone())
    axes = fit_axes(torch.cat(features), widths, [teacher.share for teacher in teachers], components, whitening)
    with atomic_path(path) as temporary:
        save_file({"mean": axes.mean.contiguous(), "axes": axes.axes.contiguous()}, temporary)
    return axes


def _seen(bank: StillBank, teachers: Sequence[Teacher], numbers: Sequence[int], size: int) -> list[Tensor]:
    pictures = bank.pixels[list(numbers)].to(teachers[0].mean.device).float() / 255
    resized = F.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
    return joint_maps(teachers, resized)
