"""``VideoFeatures``: embeddings of a video with their times."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from endofm.address import Address, located
from endofm.errors import FeatureFileError, InputError, require_extra
from endofm.json_text import parse_json
from endofm.tasks.features.files import Spool, read_arrays, write_arrays
from endofm.tasks.features.moments import Moments
from endofm.tasks.result_rows import Selection, TimedRows, origin_facts, select_rows
from endofm.video.frames import Float64Array

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

Float32Array = npt.NDArray[np.float32]
FeatureLevel = Literal["clip", "frame", "patch"]

_FORMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "embeddings": ("float32", ("num_clips", "embed_dim")),
    "start_seconds": ("float64", ("num_clips",)),
    "end_seconds": ("float64", ("num_clips",)),
    "frame_seconds": ("float64", ("num_clips", "num_frames")),
    "frame_embeddings": ("float32", ("num_clips", "num_frames", "embed_dim")),
    "patch_tokens": ("float32", ("num_clips", "num_frames", "rows", "columns", "embed_dim")),
}
_OPTIONAL = ("frame_embeddings", "patch_tokens")
_ROWS_PER_PIECE = 16


class ClipFeatures(NamedTuple):
    """Features of one clip; the attributes are those of :class:`VideoFeatures` without their first axis."""

    embedding: Float32Array
    start_seconds: float
    end_seconds: float
    frame_seconds: Float64Array
    frame_embeddings: Float32Array | None = None
    patch_tokens: Float32Array | None = None

    def __repr__(self) -> str:
        return f"ClipFeatures({clock(self.start_seconds)}-{clock(self.end_seconds)}, {len(self.embedding)} values)"


@dataclass(frozen=True, eq=False, repr=False)
class VideoFeatures(Moments, TimedRows[ClipFeatures]):
    """Features of one video, clip by clip in order of time.

    A sequence of :class:`ClipFeatures`: ``features[3]`` is one clip, ``features[3:9]`` and ``features[mask]`` are
    ``VideoFeatures`` again, ``numpy.asarray(features)`` is the array of embeddings.

    Attributes:
        embeddings: Clip embeddings, float32 ``(num_clips, embed_dim)``.
        start_seconds: Start of each clip, seconds after the first frame, float64 ``(num_clips,)``.
        end_seconds: End of each clip, float64 ``(num_clips,)``.
        frame_seconds: Times of the source frames in each clip, float64 ``(num_clips, num_frames)``. Where a token
            stands for several frames (V-JEPA 2), ``num_frames`` counts steps of tokens, and each time is a mean.
        frame_embeddings: Mean of each frame's patch tokens, float32 ``(num_clips, num_frames, embed_dim)``; None at
            level ``"clip"``.
        patch_tokens: Patch tokens after the final norm, float32 ``(num_clips, num_frames, rows, columns,
            embed_dim)``; None unless the level is ``"patch"``. May be an array on disk.
        provenance: Origin of the features: weights, preprocessing, field of view, windows, library, source,
            problems. Plain JSON values.

    Example:
        >>> import numpy as np
        >>> features = VideoFeatures(np.eye(2, 4, dtype="float32"), np.array([0.0, 5.0]), np.array([5.0, 9.0]),
        ...                          np.array([[0.0, 4.9], [5.0, 8.9]]))
        >>> features
        VideoFeatures(2 clips x 4, 0:00-0:09, level 'clip')
        >>> features.similarity()
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """

    embeddings: Float32Array
    start_seconds: Float64Array
    end_seconds: Float64Array
    frame_seconds: Float64Array
    frame_embeddings: Float32Array | None = None
    patch_tokens: Float32Array | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The first array with an axis fixes its length; all later ones must agree.
        sides: dict[str, int] = {}
        for name, (dtype, axes) in _FORMS.items():
            array = getattr(self, name)
            if array is None and name in _OPTIONAL:
                continue
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != len(axes):
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise InputError(f"VideoFeatures.{name} must be a {dtype} array ({', '.join(axes)}), got {got}")
            for axis, side in zip(axes, array.shape, strict=True):
                if side != sides.setdefault(axis, side) or (side == 0 and axis != "num_clips"):
                    raise InputError(
                        f"VideoFeatures.{name} has the shape {array.shape}: {axis} is {side}, expected "
                        f"{sides[axis] or 'at least 1'}"
                    )
        # A round trip, so that features in memory equal those that are saved and loaded.
        try:
            plain = json.loads(json.dumps(dict(self.provenance), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(f"VideoFeatures.provenance must hold plain JSON values ({error})") from error
        object.__setattr__(self, "provenance", plain)

    def __len__(self) -> int:
        return len(self.embeddings)

    @overload
    def __getitem__(self, index: int) -> ClipFeatures: ...

    @overload
    def __getitem__(self, index: Selection) -> VideoFeatures: ...

    def __getitem__(self, index: int | Selection) -> ClipFeatures | VideoFeatures:
        arrays = self.arrays()
        if not isinstance(index, (int, np.integer)):
            rows = select_rows(index, len(self))
            selected: dict[str, Any] = {name: array[rows] for name, array in arrays.items()}
            return replace(self, **selected)
        # An index out of range is an IndexError, which ends a loop over indices as in any sequence.
        clip = {name: array[index] for name, array in arrays.items()}
        start, end = float(clip.pop("start_seconds")), float(clip.pop("end_seconds"))
        return ClipFeatures(clip.pop("embeddings"), start, end, **clip)

    def __iter__(self) -> Iterator[ClipFeatures]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.embeddings, dtype) if copy else np.asarray(self.embeddings, dtype)

    def __repr__(self) -> str:
        parts = [f"{len(self)} clips x {self.embed_dim}"]
        if len(self):
            parts.append(f"{clock(self.start_seconds[0])}-{clock(self.end_seconds[-1])}")
        parts.append(f"level {self.level!r}")
        if name := _get(self.provenance, "video", "name"):
            parts.append(f"of {name!r}")
        if self.untrained:
            parts.append("random weights: they mean nothing")
        return f"VideoFeatures({', '.join(parts)})"

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("video", str(_get(self.provenance, "video", "name") or "not stated"))]
        facts.append(("clips", f"{len(self)} of {self.frame_seconds.shape[1]} frames"))
        if len(self):
            facts.append(("time", f"{clock(self.start_seconds[0])} to {clock(self.end_seconds[-1])}"))
        facts.append(("embeddings", f"float32 ({len(self)}, {self.embed_dim}), level {self.level}"))
        return facts + origin_facts(self.provenance)

    def _spans(self) -> tuple[Float64Array, Float64Array]:
        return self.start_seconds, self.end_seconds

    @property
    def embed_dim(self) -> int:
        """Width of an embedding."""
        return int(self.embeddings.shape[1])

    @property
    def level(self) -> FeatureLevel:
        """Feature level: ``"clip"``, ``"frame"`` or ``"patch"``."""
        if self.patch_tokens is not None:
            return "patch"
        return "clip" if self.frame_embeddings is None else "frame"

    @property
    def untrained(self) -> bool:
        """True if the provenance states that the weights are random, so that the features mean nothing."""
        return _get(self.provenance, "weights", "config", "trained") is False

    @property
    def problems(self) -> tuple[str, ...]:
        """Decoding problems of the video, one sentence each; empty for an intact one."""
        return tuple(self.provenance.get("problems", ()))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by attribute name, without those that the level does not have."""
        return {name: getattr(self, name) for name in _FORMS if getattr(self, name) is not None}

    def to_torch(self) -> Tensor:
        """Return a copy of the embeddings as a tensor, float32 ``(num_clips, embed_dim)``."""
        import torch

        return torch.from_numpy(np.array(self.embeddings))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table: one row per clip, columns ``start_seconds``, ``end_seconds``, ``e0``, ``e1``, ...

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        frame: pandas.DataFrame = require_extra("pandas", "pandas", "A table of features").DataFrame(
            np.array(self.embeddings), columns=[f"e{column}" for column in range(self.embed_dim)]
        )
        frame.insert(0, "start_seconds", self.start_seconds)
        frame.insert(1, "end_seconds", self.end_seconds)
        return frame

    @classmethod
    def concatenate(cls, parts: Sequence[VideoFeatures]) -> VideoFeatures:
        """Join the parts of one recording that was saved in several files.

        Args:
            parts: Features of the files in order, by the same weights and settings. Times of each part are shifted by
                the end of the part before.

        Raises:
            InputError: If there is none, or they differ in weights, settings, level or width.
        """
        if not parts:
            raise InputError("there are no features to concatenate")
        first = parts[0]
        for part in parts[1:]:
            for name in ("weights", "preprocess", "windows", "precision", "normalized"):
                if part.provenance.get(name) != first.provenance.get(name):
                    raise InputError(f"{part!r} and {first!r} were extracted with different {name}")
            if part.level != first.level or part.embed_dim != first.embed_dim:
                raise InputError(f"{part!r} and {first!r} differ in level or width")
        ends = np.cumsum([0.0, *(part.end_seconds[-1] if len(part) else 0.0 for part in parts)])
        shifted = [
            {name: array + shift if name.endswith("_seconds") else array for name, array in part.arrays().items()}
            for part, shift in zip(parts, ends[:-1].tolist(), strict=True)
        ]
        problems = [problem for part in parts for problem in part.problems]
        return cls(
            **{name: np.concatenate([one[name] for one in shifted]) for name in shifted[0]},
            provenance={
                **first.provenance,
                "video": {
                    **(first.provenance.get("video") or {}),
                    "parts": [part.provenance.get("video") for part in parts],
                },
                "problems": problems,
            },
        )

    def normalized(self) -> VideoFeatures:
        """Return a copy in which every embedding and token has length 1 (L2); zeros stay zeros."""

        def unit(array: Float32Array | None) -> Float32Array | None:
            if array is None or not len(array):
                return array
            # In pieces, because patch tokens may be larger than memory.
            spool = Spool()
            for start in range(0, len(array), _ROWS_PER_PIECE):
                piece = np.asarray(array[start : start + _ROWS_PER_PIECE], np.float64)
                length = np.linalg.norm(piece, axis=-1, keepdims=True)
                spool.append((piece / np.where(length > 0, length, 1)).astype(np.float32))
            return spool.finish()

        embeddings = unit(self.embeddings)
        assert embeddings is not None
        return replace(
            self,
            embeddings=embeddings,
            frame_embeddings=unit(self.frame_embeddings),
            patch_tokens=unit(self.patch_tokens),
            provenance={**self.provenance, "normalized": True},
        )

    def similarity(self, other: VideoFeatures | None = None) -> Float32Array:
        """Return the cosine similarity of all pairs of clips.

        Args:
            other: Features of another video by the same weights; this video itself by default.

        Returns:
            float32 ``(num_clips, num_clips of other)``, in [-1, 1].

        Raises:
            InputError: If the two have embeddings of different width.
        """
        other = self if other is None else other
        if other.embed_dim != self.embed_dim:
            raise InputError(
                f"embeddings of width {self.embed_dim} and {other.embed_dim} cannot be compared; "
                f"extract both videos with the same weights"
            )
        # Frame embeddings and patch tokens are dropped first, so that they are not normalised in vain.
        rows = replace(self, frame_embeddings=None, patch_tokens=None).normalized().embeddings
        columns = replace(other, frame_embeddings=None, patch_tokens=None).normalized().embeddings
        # Rounding may give 1 + 1e-7.
        cosines: Float32Array = np.clip(rows @ columns.T, -1, 1)
        return cosines

    def save(self, path: str | Path) -> Path:
        """Write everything to one file, whose suffix determines the format.

        ``.safetensors``, ``.npz``, ``.pt`` and ``.csv`` need no further package, ``.parquet``, ``.h5`` and ``.zarr``
        (a folder) the extras of these names. The file appears under its name only when it is complete. Arrays on disk
        are streamed.

        Returns:
            The path.

        Raises:
            InputError: If the suffix is unknown.
            FeatureFileError: If the file cannot be written.
            MissingExtraError: If the format's package is not installed.
        """
        path = Path(path)
        write_arrays(path, self.arrays(), {"provenance": json.dumps(self.provenance)})
        return path

    @classmethod
    def load(cls, path: str | Path | Address) -> VideoFeatures:
        """Read a file that :meth:`save` wrote, or such an object by its address (``s3://``, extra ``remote``).

        Patch tokens in a ``.safetensors`` file stay on disk until they are used; all other arrays are read into memory.

        Raises:
            InputError: If the suffix is unknown.
            FeatureFileError: If the file is missing, damaged, not a feature file or of a newer format.
            MissingExtraError: If the format's package is not installed.
        """
        path = located(path)
        arrays, texts = read_arrays(path)
        try:
            return cls(
                **{name: arrays.get(name) for name in _FORMS},  # type: ignore[arg-type]
                provenance=parse_json(texts.get("provenance", "{}")),
            )
        except ValueError as error:
            raise FeatureFileError(f"{path}: incomplete or damaged ({error}); extract the features again") from error


def clock(seconds: float, *, digits: int = 0) -> str:
    """Format a time as minutes and seconds, ``"3:07"``, from one hour on with hours, ``"1:03:07"``.

    Args:
        seconds: The time.
        digits: Digits after the point, as in ``"3:07.5"``.
    """
    units = 10**digits
    whole, part = divmod(round(float(seconds) * units), units)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{part:0{digits}}" if digits else ""
    return f"{hours}:{minutes:02}:{rest:02}{fraction}" if hours else f"{minutes}:{rest:02}{fraction}"


def _get(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values
