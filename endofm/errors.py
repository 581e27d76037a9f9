"""Exceptions of the package.

Every message says what was wrong, in which file or argument, and what to do next. All of them derive from
:class:`EndoFMError`, so that a program can catch what this library reports and let real bugs through.
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType

_LONGEST = 2000
"""Largest number of characters of a message, whatever it quotes."""

# Control characters, line separators, marks of direction, and halves of surrogate pairs: names that are not UTF-8.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class EndoFMError(Exception):
    """Base class of every error that this library raises on purpose.

    A message is shown without control characters, and all its lines but the first are indented: the name of a file in
    it can neither move the cursor of a terminal nor look like another message.
    """

    def __str__(self) -> str:
        return _message(super().__str__())


class EndoFMWarning(UserWarning):
    """Base class of every warning that this library emits; shown as :class:`EndoFMError` is."""

    def __str__(self) -> str:
        return _message(super().__str__())


class UntrainedWeightsWarning(EndoFMWarning):
    """The weights are random: features mean nothing."""


class LicenseWarning(EndoFMWarning):
    """The weights are under a licence that does not allow every use, or under none."""


class ConfigError(EndoFMError, ValueError):
    """A configuration value or key is not valid."""


class InputError(EndoFMError, ValueError):
    """An argument (array, tensor, path list) does not have the form that the function takes."""


class VideoError(EndoFMError):
    """A video, folder of frames or image cannot be read."""


class FeatureFileError(EndoFMError):
    """A saved feature file is damaged, incomplete or of an unknown format."""


class EncoderOutputError(EndoFMError):
    """The output of an encoder cannot be used as features."""


class JobError(EndoFMError):
    """An output folder is in use by another process, or holds the results of other settings.

    Raised by every job that fills a folder and can be resumed: extraction, prediction, preparation of data sets,
    rendering, fine-tuning and training (:mod:`endofm.resume`). An output folder that cannot be created or written to
    is an :class:`InputError`.
    """


class StoreError(EndoFMError, OSError):
    """An object storage does not answer, refuses a request, or lacks what was asked for."""


class CancelledError(EndoFMError):
    """The work was cancelled by the program that had asked for it."""


class TrainingError(EndoFMError):
    """A training run cannot continue: non-finite loss, collapsed network, or no data left."""


class WeightsError(EndoFMError):
    """Base class of errors between the name of weights and a loaded model."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """The named weights do not exist, or are not in the cache while offline."""


class DownloadError(WeightsError, OSError):
    """The weights exist but could not be downloaded (network, server, permission)."""


class ChecksumError(WeightsError):
    """A file's sha256 is not the one recorded for it."""


class UnsafeCheckpointError(WeightsError):
    """A checkpoint holds objects that are not plain tensors and are not allowed."""


class CheckpointFormatError(WeightsError):
    """A file is readable but holds no weights of a supported layout."""


class StateDictError(WeightsError):
    """Tensor names or shapes do not match the model."""


class MissingExtraError(EndoFMError, ImportError):
    """An optional dependency is not installed."""


def require_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Name of the module to import, e.g. ``"h5py"``.
        extra: Name of the extra of this package that installs it, e.g. ``"h5"``.
        purpose: Purpose, the subject of a sentence, e.g. ``"Writing HDF5 feature files"``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: If the module is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which is not installed. "
            f'Install it with:  pip install "endofm[{extra}]"'
        ) from error


def reason(error: Exception) -> str:
    """Return what an exception says about one video of many, whatever raised it.

    One video must not end the work on the others, not even by a fault of this library or of another one: its exceptions
    are reported with their kind, since their messages were not written for users.
    """
    return str(error) if isinstance(error, EndoFMError) else f"unexpected {type(error).__name__}: {error}"


def cause(error: BaseException) -> str:
    """Return the first line of another library's exception for a message, at most 200 characters; else its kind."""
    line = (str(error).strip().splitlines() or [""])[0]
    return (line if len(line) <= 200 else f"{line[:197]}...") or type(error).__name__


def visible(text: str) -> str:
    """Return a string with its control characters written as in a string of Python.

    Names of files and labels come from others; printed as they are, they could move the cursor, change colours, or
    hide and reorder what stands beside them.

    Args:
        text: The text; letters of all scripts stay.
    """
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def _message(text: str) -> str:
    first, *more = text.split("\n")
    shown = "\n".join([visible(first), *(visible(line if line.startswith("  ") else f"  {line}") for line in more)])
    # Both ends are kept: the file is named at the beginning, and the remedy at the end.
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]} ... {shown[-_LONGEST // 2 :]}"


def quoted(value: object, *, limit: int = 200) -> str:
    """Return ``repr(value)`` for a message, shortened if it is long.

    Invalid input can be a megabyte long, and a message that repeats it in full is unreadable.

    Args:
        value: The invalid value.
        limit: Maximum number of characters.
    """
    # Long strings are cut before their representation is made; other values must be represented to know their length.
    shown = repr(value[: limit + 1]) if isinstance(value, (str, bytes)) else repr(value)
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."
