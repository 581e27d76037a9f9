"""PyTorch: one dictionary of tensors and strings, which ``torch.load(path, weights_only=True)`` reads as well.

Nothing but tensors and strings is ever built from a file: the reader of checkpoints refuses everything that could run a
program, and what it lets pass beyond these is refused here.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.errors import CheckpointFormatError, FeatureFileError, UnsafeCheckpointError, quoted
from endofm.tasks.features.files import Arrays, Strings, require_plausible


def write(path: Path, arrays: Arrays, strings: Strings) -> None:
    """Write the dictionary; the strings first, so that the beginning of the file says what it is."""
    import torch

    # Into an open file: the archive would otherwise hold the temporary name, and no two files would be equal.
    with path.open("wb") as file:
        torch.save({**strings, **{name: _tensor(array) for name, array in arrays.items()}}, file)


def read(path: Path) -> tuple[Arrays, Strings]:
    """Read the dictionary, whose tensors are copied into memory."""
    from endofm.hub.checkpoint_file import read_checkpoint

    with zipfile.ZipFile(path) as archive:
        require_plausible(path, sum(part.file_size for part in archive.infolist()))
    try:
        content = read_checkpoint(path)
    except UnsafeCheckpointError as error:
        raise FeatureFileError(str(error)) from error
    except CheckpointFormatError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from error
    strings = {name: value for name, value in content.items() if isinstance(value, str)}
    arrays = {name: _array(name, value) for name, value in content.items() if name not in strings}
    return arrays, strings


def _tensor(array: npt.NDArray[Any]) -> Any:
    import torch

    contiguous = np.ascontiguousarray(array)
    # Torch warns about memory that may not be written to.
    return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy())


def _array(name: object, value: Any) -> npt.NDArray[Any]:
    import torch

    if not isinstance(name, str) or type(value) is not torch.Tensor:
        raise ValueError(f"{quoted(name)} is {type(value).__name__}, neither a tensor nor a string")
    # A tensor of few numbers can claim any size by strides of 0.
    if value.layout is not torch.strided or not value.is_contiguous() or value.device.type != "cpu":
        raise ValueError(f"{quoted(name)} is no plain tensor")
    array: npt.NDArray[Any] = value.detach().numpy().copy()
    return array
