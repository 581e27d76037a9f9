"""Files in the safetensors format: equal tensors make equal bytes, and the user's umask says who may read them.

The library's own writer lists the metadata in an order that differs from process to process and makes files that their
owner alone may read. Every file of this format that the package writes is written here.

Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from endofm.errors import CheckpointFormatError, InputError, quoted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor

_ALIGNMENT = 8
"""Bytes that the header's length is a multiple of, so that the data behind it is aligned."""

_PIECE = 16 * 2**20
"""Bytes that are written at once; an array on disk is never in memory as a whole."""

_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""The format's names of types, by those of torch and numpy."""


_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that data parallelism, ``torch.compile``, FSDP and activation checkpointing add at any depth."""

_OUTER = ("model.", "net.", "network.", "encoder.")
"""Attributes by which modules around a whole model call it; published TimeSformer files use the first."""


def write_tensor_file(
    path: Path, tensors: Mapping[str, Tensor | npt.NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write tensors or arrays to a safetensors file.

    Args:
        path: File to create or replace.
        tensors: By name; of any device and strides, and of a type of :data:`_CODES`.
        metadata: Strings for the header.

    Raises:
        InputError: If a tensor is of another type.
    """
    codes = {name: _CODES.get(str(values.dtype).removeprefix("torch.")) for name, values in tensors.items()}
    for name, code in codes.items():
        if code is None:
            raise InputError(
                f"{path}: tensor {quoted(name)} is of the type {tensors[name].dtype}, which cannot be written"
            )
    # Widest types first, as the library does it: every tensor is aligned to its type then.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    begin = 0
    for name in order:
        end = begin + int(tensors[name].dtype.itemsize) * _count(tensors[name])
        header[name] = {"dtype": codes[name], "shape": list(tensors[name].shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            content = _bytes_of(tensors[name])
            for start in range(0, len(content), _PIECE):
                file.write(content[start : start + _PIECE].data)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file into memory.

    Raises:
        CheckpointFormatError: If the file is damaged, cut off or of another format.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # Copied, because the tensors are mapped from the file: overwriting it would change a loaded model.
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def without_wrappers(name: str) -> str:
    """Return a tensor's name without what wrappers add, but with the attribute by which a module calls the model."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def unwrapped_name(name: str) -> str:
    """Return a tensor's name without what wrappers around the model, or around parts of it, add to it."""
    name = without_wrappers(name)
    while name.startswith(_OUTER):
        name = name.partition(".")[2]
    return name


def unwrapped(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return tensors by their names in the model, see :func:`unwrapped_name`.

    Args:
        tensors: Tensors by name.
        source: Name of the file, for messages.

    Raises:
        CheckpointFormatError: If two tensors would have the same name.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = unwrapped_name(name)
        if plain in renamed:
            raise CheckpointFormatError(
                f"{source}: several tensors would have the same name without their prefixes: {quoted(plain)}"
            )
        renamed[plain] = tensor
    return renamed


def is_weight_type(dtype: torch.dtype, *, like: torch.dtype) -> bool:
    """Return whether a network can compute with values of a type where it holds values of the type ``like``.

    Floating-point types of 16 bits or more may stand for one another; everything else has to be the same.
    """
    return dtype == like or (dtype.is_floating_point and like.is_floating_point and dtype.itemsize >= 2)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the strings in the header of a safetensors file.

    Raises:
        CheckpointFormatError: If the file is damaged, cut off or of another format.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def require_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise if a tensor holds values that are not finite.

    Raises:
        CheckpointFormatError: Naming the first such tensor.
    """
    import torch

    for name, tensor in tensors.items():
        # Other types have no such values, or are refused by name when they are compared with the network.
        if is_weight_type(tensor.dtype, like=torch.float32) and not torch.isfinite(tensor).all():
            raise CheckpointFormatError(
                f"{source}: tensor {quoted(name)} holds values that are not finite; training diverged?"
            )


def _count(values: Tensor | npt.NDArray[Any]) -> int:
    count = 1
    for side in values.shape:
        count *= int(side)
    return count


def _bytes_of(values: Tensor | npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the values as bytes, row by row; an array on disk stays there."""
    import numpy as np
    import torch

    if isinstance(values, np.ndarray):
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    flat: npt.NDArray[np.uint8] = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat


def _unreadable(path: Path, error: Exception) -> CheckpointFormatError:
    return CheckpointFormatError(
        f"{path}: the file is damaged, cut off or not a safetensors file ({error}). Download or write it again."
    )
