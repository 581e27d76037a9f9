"""Reading PyTorch checkpoints without executing anything in them.

A ``.pth`` file is a pickle, which can run any program while it is read. Only tensors and plain values are read here.
Training loops store a few more kinds of object beside the weights: the command line (``argparse.Namespace``), paths,
times, numpy arrays and scalars, settings. None of them is needed, and none of their code is run: an empty object, or an
empty dictionary, replaces each of them. Any other kind of object refuses the file.
"""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from endofm.errors import CheckpointFormatError, UnsafeCheckpointError, cause


class _Discarded:
    """Placeholder for an object beside the weights; accepts any arguments and keeps none."""

    def __new__(cls, *_: object) -> _Discarded:
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _PlainDict:
    """Stands for a kind of dictionary: the result is a plain one, which the unpickler can fill."""

    def __new__(cls, *_: object) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


# numpy 2 renamed its core module; the published checkpoint was written with the older name. Python 3.13 moved paths.
_DISCARDED = {
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
    "pathlib": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "pathlib._local": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "types": ("SimpleNamespace",),
    "uuid": ("UUID",),
    # Arguments of collections.defaultdict.
    "builtins": ("dict", "float", "int", "list", "str", "tuple"),
    # Configurations of Hydra.
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": ("AnyNode",),
    "typing": ("Any",),
}
_DICTIONARIES = {
    "collections": "defaultdict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
}
_ALLOWED: list[Any] = [
    argparse.Namespace,
    *((_Discarded, f"{module}.{name}") for module, names in _DISCARDED.items() for name in names),
    *((_PlainDict, f"{module}.{name}") for module, name in _DICTIONARIES.items()),
]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a PyTorch checkpoint, refusing everything but tensors and plain values.

    The file is read once for its checksums. Tensors are memory-mapped, so that unused ones, such as the optimiser's
    state, take no memory.

    Args:
        path: A file written by ``torch.save``.

    Returns:
        The dictionary that was saved. Objects that are no plain values are empty in it.

    Raises:
        UnsafeCheckpointError: If the file holds any other kind of object. Nothing in it has been run.
        CheckpointFormatError: If the file is damaged or is not a checkpoint.
    """
    path = Path(path)
    is_zip = _require_checkpoint(path)
    if is_zip:
        verify_archive(path)
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
            f"{path}: the checkpoint is damaged and cannot be read ({cause(error)}). Download it again."
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointFormatError(f"{path}: the checkpoint holds a {type(content).__name__}, not named tensors")
    return dict(content)


def verify_archive(path: Path) -> None:
    """Compare every byte of a checkpoint with the checksums in the file.

    ``torch.save`` writes a zip archive with a CRC-32 of each part, which ``torch.load`` does not look at: one flipped
    bit would load as another weight.

    Raises:
        CheckpointFormatError: If the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    # Damage to the directory of the archive shows as an unknown compression, an encrypted part, a number out of range.
    except Exception as error:
        raise CheckpointFormatError(f"{path}: the checkpoint is damaged ({cause(error)})") from error
    if changed is not None:
        raise CheckpointFormatError(f"{path}: the checkpoint is damaged (its part {changed} has changed)")


def _require_checkpoint(path: Path) -> bool:
    """Raise if a file cannot be a checkpoint; return whether it is a zip (current format) or an older pickle."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if zipfile.is_zipfile(path):
            return True
    except OSError as error:
        raise CheckpointFormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except zipfile.BadZipFile as error:  # an end that says that there are further files
        raise CheckpointFormatError(f"{path}: the checkpoint is damaged ({cause(error)})") from error
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
    except Exception:  # older formats and unusual pickles cannot be listed; the unpickler's reason remains
        kinds = []
    return f"objects that are not tensors ({', '.join(sorted(kinds)[:5]) or _reason(error)})"


def _reason(error: Exception) -> str:
    # PyTorch's message explains its own options at length; the cause follows this mark.
    return str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()[0][:120]
