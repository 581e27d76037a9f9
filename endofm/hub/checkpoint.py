"""Reading PyTorch checkpoints without trusting them, and finding the encoder inside.

A ``.pth`` file is a pickle, which can run any program while it is read. Only tensors and plain values are read here,
plus the two kinds of object that the published training checkpoint holds beside them, neither of which is needed: its
command line (``argparse.Namespace``) and the learning rates of its optimiser (numpy scalars). Numpy's own
reconstruction is not run either; an empty object takes the place of the scalars.
"""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from endofm.errors import CheckpointFormatError, InputError, UnsafeCheckpointError
from endofm.hub.keys import duplicates, encoder_name

_WRAPPED = ("backbone_state_dict", "model", "state_dict", "model_state")
"""Entries that hold a state dict, best first (the ``state_dict`` of a fine-tuned file is its classifier alone)."""


class _Discarded:
    """Takes the place of a numpy scalar: accepts whatever it is built from and keeps nothing of it."""

    def __new__(cls, *_: object) -> _Discarded:
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


_ALLOWED: list[Any] = [
    argparse.Namespace,
    (_Discarded, "numpy.core.multiarray.scalar"),
    (_Discarded, "numpy._core.multiarray.scalar"),
    (_Discarded, "numpy.dtype"),
]


@dataclass(frozen=True)
class EncoderTensors:
    """The encoder found in a checkpoint.

    Attributes:
        tensors: Its tensors by their names in the encoder.
        layout: What kind of file it is, in words.
        part: Entry that was taken, empty for a flat file.
        left_out_tensors: Tensors of heads in the same part, by their names in the file.
        left_out_entries: Other entries of the file.
    """

    tensors: dict[str, Tensor]
    layout: str
    part: str
    left_out_tensors: tuple[str, ...]
    left_out_entries: tuple[str, ...]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a PyTorch checkpoint, refusing everything but tensors and plain values.

    Tensors are mapped from the file rather than read, so that what is not used costs nothing.

    Args:
        path: A file written by ``torch.save``.

    Returns:
        The dictionary that was saved. Numpy scalars in it are replaced by empty objects.

    Raises:
        UnsafeCheckpointError: If the file holds any other kind of object. Nothing in it has been run.
        CheckpointFormatError: If the file is damaged or is not a checkpoint.
    """
    path = Path(path)
    is_zip = _require_checkpoint(path)
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise UnsafeCheckpointError(
            f"{path}: the file holds {_forbidden(path, error)} and was not read, because building such objects can run "
            "any program. Ask its author for a safetensors file, or for a checkpoint that holds tensors alone."
        ) from error
    except Exception as error:  # damaged files make torch.load fail in many ways, none of them documented
        raise CheckpointFormatError(
            f"{path}: the checkpoint is damaged and cannot be read ({_first_line(error)}). Download it again."
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointFormatError(f"{path}: the checkpoint holds a {type(content).__name__}, not named tensors")
    return dict(content)


def find_encoder(content: Mapping[str, Any], *, part: str | None = None, where: str = "checkpoint") -> EncoderTensors:
    """Find the encoder's tensors in the content of a checkpoint.

    Known are training checkpoints (``teacher`` and ``student``; the teacher is taken unless told otherwise),
    fine-tuned ones (``backbone_state_dict``), state dicts wrapped as ``model``, ``state_dict`` or ``model_state``, and
    flat ones, each with or without the prefixes ``module.``, ``model.`` and ``backbone.``.

    Args:
        content: What :func:`read_checkpoint` returned.
        part: ``"teacher"`` or ``"student"`` of a training checkpoint.
        where: Name of the file, for messages.

    Raises:
        InputError: If the part asked for is not there.
        CheckpointFormatError: If no known layout fits.
    """
    layout, chosen, entries = _choose(content, part, where)
    names = {name: encoder_name(name) for name in entries}
    repeated = duplicates(name for name in names.values() if name is not None)
    if repeated:
        raise CheckpointFormatError(
            f"{where}: several tensors would take the same name without their prefixes: {', '.join(repeated[:3])}"
        )
    tensors = {new: _plain(entries[old], old, where) for old, new in names.items() if new is not None}
    heads = tuple(old for old, new in names.items() if new is None)
    others = tuple(str(name) for name in content if chosen and name != chosen)
    return EncoderTensors(tensors=tensors, layout=layout, part=chosen, left_out_tensors=heads, left_out_entries=others)


def _choose(content: Mapping[str, Any], part: str | None, where: str) -> tuple[str, str, Mapping[str, Any]]:
    """Return the layout in words, the entry taken (empty: the file itself) and its tensors."""
    trained = [name for name in ("teacher", "student") if _is_state_dict(content.get(name))]
    if part is not None and part not in trained:
        there = " and ".join(trained) if trained else "neither a teacher nor a student"
        raise InputError(f"{where}: part {part!r} was asked for, but the file holds {there}")
    if trained:
        chosen = part or trained[0]
        return f"training checkpoint ({' and '.join(trained)})", chosen, content[chosen]
    for name in _WRAPPED:
        if _is_state_dict(content.get(name)):
            return f"state dict in the entry {name!r}", name, content[name]
    if _is_state_dict(content):
        return "flat state dict", "", content
    entries = ", ".join(str(name) for name in list(content)[:8])
    raise CheckpointFormatError(
        f"{where}: no weights of a known layout were found. Known are the entries teacher, student, "
        f"{', '.join(_WRAPPED)}, or tensors alone; the file holds: {entries or 'nothing'}"
    )


def plain_tensors(entries: Mapping[str, Any], where: str, *, integers: bool = False) -> dict[str, Tensor]:
    """Return the tensors of an entry in memory of their own.

    Args:
        entries: Tensors by name.
        where: Name of the file, for messages.
        integers: Let whole numbers (counters of batch norms) pass as well.

    Raises:
        CheckpointFormatError: If one of them is not an ordinary tensor of floating-point numbers.
    """
    return {name: _plain(tensor, name, where, integers=integers) for name, tensor in entries.items()}


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _plain(tensor: object, name: str, where: str, *, integers: bool = False) -> Tensor:
    """Return a tensor's values in memory of their own, refusing what is not an ordinary array of numbers."""
    if not isinstance(tensor, Tensor):
        raise CheckpointFormatError(f"{where}: {name!r} is not a tensor")
    number = tensor.is_floating_point() or (integers and tensor.dtype == torch.int64)
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not number:
        raise CheckpointFormatError(f"{where}: tensor {name!r} is not an ordinary tensor of floating-point numbers")
    # Strides of zero let a small file describe an enormous tensor.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointFormatError(f"{where}: tensor {name!r} is larger than the data stored for it")
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _require_checkpoint(path: Path) -> bool:
    """Raise if a file is plainly no checkpoint; return whether it is a zip (current format) or an older pickle."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if zipfile.is_zipfile(path):
            return True
    except OSError as error:
        raise CheckpointFormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    if start[:1] == b"\x80":
        return False
    if start.startswith(b"PK"):
        problem = "the file is cut off. Download it again"
    elif start.lstrip()[:1] == b"<":
        problem = "this is a web page, not a checkpoint; the download needs a browser, or its link is dead"
    else:
        problem = "this is not a PyTorch checkpoint"
    raise CheckpointFormatError(f"{path}: {problem}")


def _forbidden(path: Path, error: Exception) -> str:
    """Name the kinds of object that a checkpoint may not hold, without building them."""
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            kinds = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # older formats and unusual pickles cannot be listed; the first reason has to do
        kinds = []
    return f"objects that are not tensors ({', '.join(sorted(kinds)[:5]) or _reason(error)})"


def _reason(error: Exception) -> str:
    # PyTorch's message explains its own options at length; the cause follows this mark.
    return str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()[0][:120]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
