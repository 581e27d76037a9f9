"""``VideoClassification``: class probabilities of a video, clip by clip with times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from endofm.disclaimer import DISCLAIMER
from endofm.errors import InputError, require_extra
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.files import read_classification, write_classification
from endofm.tasks.features.results import clock
from endofm.tasks.result_rows import Selection, TimedRows, origin_facts, select_rows
from endofm.video.frames import Float64Array

if TYPE_CHECKING:
    import pandas


def decide(probabilities: npt.NDArray[Any], head: ClassificationHeadConfig) -> npt.NDArray[np.int64]:
    """Apply the thresholds of :class:`~endofm.config.ClassificationHeadConfig` to probabilities.

    Args:
        probabilities: ``(..., num_classes)``.
        head: Thresholds, and whether the head is multi-label.

    Returns:
        int64; predicted class indices ``(...)``, or for a multi-label head ``(..., num_classes)`` of 0 and 1.
    """
    if head.multi_label:
        return (probabilities >= np.array(head.thresholds or [0.5] * head.num_classes)).astype(np.int64)
    # Exactly one class is predicted, so thresholds can only weigh the classes against each other. With thresholds
    # (1 - t, t) of two classes, p / t > (1 - p) / (1 - t) holds if and only if p > t.
    ratios = probabilities / np.array(head.thresholds) if head.thresholds else probabilities
    return np.asarray(ratios.argmax(axis=-1), np.int64)


class ClipClassification(NamedTuple):
    """Class probabilities of one clip.

    Attributes:
        start_seconds: Start of the clip, seconds after the first frame.
        end_seconds: End of the clip.
        probabilities: float64 ``(num_classes,)``.
    """

    start_seconds: float
    end_seconds: float
    probabilities: Float64Array

    def __repr__(self) -> str:
        numbers = ", ".join(f"{value:.2f}" for value in self.probabilities)
        return f"ClipClassification({clock(self.start_seconds)}-{clock(self.end_seconds)}, {numbers})"


@dataclass(frozen=True, eq=False, repr=False)
class VideoClassification(TimedRows[ClipClassification]):
    """Class probabilities of one video, clip by clip in order of time.

    A sequence of :class:`ClipClassification`; a slice, a mask or a list of indices gives a ``VideoClassification`` of
    those clips.

    Attributes:
        probabilities: float64 ``(num_clips, num_classes)``.
        start_seconds: Start of each clip, seconds after the first frame, float64 ``(num_clips,)``.
        end_seconds: End of each clip, float64 ``(num_clips,)``.
        head: Labels, thresholds, and whether the head is multi-label.
        provenance: How the probabilities were computed: weights, preprocessing, windows, library, source, problems.
            Plain JSON values.

    Example:
        >>> result = model.predict("procedure.mp4")  # doctest: +SKIP
        >>> result  # doctest: +SKIP
        VideoClassification(24 clips, 0:00-2:00, polyp 0.91)
        >>> result.start_seconds[result.predicted == 1]  # doctest: +SKIP
        array([35., 40.])
    """

    probabilities: Float64Array
    start_seconds: Float64Array
    end_seconds: Float64Array
    head: ClassificationHeadConfig
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.start_seconds)
        if self.probabilities.shape != (count, self.head.num_classes) or len(self.end_seconds) != count or not count:
            raise InputError(
                f"expected probabilities ({count}, {self.head.num_classes}) with as many times and at least one clip, "
                f"got {self.probabilities.shape} and {len(self.end_seconds)} ends"
            )

    def __len__(self) -> int:
        return len(self.probabilities)

    @overload
    def __getitem__(self, index: int) -> ClipClassification: ...

    @overload
    def __getitem__(self, index: Selection) -> VideoClassification: ...

    def __getitem__(self, index: int | Selection) -> ClipClassification | VideoClassification:
        if not isinstance(index, (int, np.integer)):
            rows = select_rows(index, len(self))
            return replace(
                self,
                probabilities=self.probabilities[rows],
                start_seconds=self.start_seconds[rows],
                end_seconds=self.end_seconds[rows],
            )
        return ClipClassification(
            float(self.start_seconds[index]), float(self.end_seconds[index]), self.probabilities[index]
        )

    def __iter__(self) -> Iterator[ClipClassification]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        by_label = dict(zip(self.labels, self.video_probabilities, strict=True))
        predicted = ", ".join(f"{label} {by_label[label]:.2f}" for label in self.predicted_labels)
        span = f"{clock(self.start_seconds[0])}-{clock(self.end_seconds[-1])}"
        random = ", random weights: it means nothing" if self.untrained else ""
        return f"VideoClassification({len(self)} clips, {span}, {predicted or 'no label'}{random})"

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.probabilities, dtype) if copy else np.asarray(self.probabilities, dtype)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("video", str((self.provenance.get("video") or {}).get("name") or "not stated"))]
        facts.append(("clips", f"{len(self)}, {clock(self.start_seconds[0])} to {clock(self.end_seconds[-1])}"))
        facts.append(("predicted", " + ".join(self.predicted_labels) or "no label"))
        facts += [(f"p({label})", f"{p:.3f}") for label, p in zip(self.labels, self.video_probabilities, strict=True)]
        return facts + origin_facts(self.provenance)

    def _spans(self) -> tuple[Float64Array, Float64Array]:
        return self.start_seconds, self.end_seconds

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the order of the columns."""
        return self.head.labels

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Prediction for each clip: class indices, or rows of 0 and 1 for a multi-label head."""
        return decide(self.probabilities, self.head)

    @property
    def video_probabilities(self) -> Float64Array:
        """Mean over the clips, weighted by their duration, float64 ``(num_classes,)``."""
        # The last clip is usually shorter; a clip of no duration (a single image) still counts.
        seconds = np.maximum(self.end_seconds - self.start_seconds, 1e-9)
        return np.asarray(np.average(self.probabilities, axis=0, weights=seconds))

    @property
    def predicted_labels(self) -> tuple[str, ...]:
        """Labels predicted for the whole video: exactly one, or any number for a multi-label head."""
        return self._names(decide(self.video_probabilities, self.head))

    @property
    def untrained(self) -> bool:
        """True if the weights are known to be random, so that the probabilities mean nothing."""
        config = self.provenance.get("weights", {}).get("config", {})
        return config.get("trained") is False

    @property
    def problems(self) -> tuple[str, ...]:
        """Parts of the video that could not be decoded, one sentence each; empty for an intact video."""
        return tuple(self.provenance.get("problems", ()))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table: one row per clip, with its times, predicted labels, and one column ``p(label)`` per label.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        frame: pandas.DataFrame = require_extra("pandas", "pandas", "A table of predictions").DataFrame(
            self.probabilities, columns=[f"p({label})" for label in self.labels]
        )
        frame.insert(0, "start_seconds", self.start_seconds)
        frame.insert(1, "end_seconds", self.end_seconds)
        frame.insert(2, "predicted", ["+".join(self._names(decision)) for decision in self.predicted])
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "format": "endofm-classification",
            "format_version": 1,
            "labels": list(self.labels),
            "multi_label": self.head.multi_label,
            "video": {"predicted": list(self.predicted_labels), "probabilities": self.video_probabilities.tolist()},
            "clips": [
                {
                    "start_seconds": start,
                    "end_seconds": end,
                    "predicted": list(self._names(decision)),
                    "probabilities": row,
                }
                for start, end, decision, row in zip(
                    self.start_seconds.tolist(),
                    self.end_seconds.tolist(),
                    self.predicted,
                    self.probabilities.tolist(),
                    strict=True,
                )
            ],
            "head": asdict(self.head),
            "provenance": dict(self.provenance),
            "note": DISCLAIMER,
        }

    def save(self, path: str | Path) -> Path:
        """Write everything as ``.json``, or the clips as a ``.csv`` table; the file appears when it is complete.

        Returns:
            The path.

        Raises:
            InputError: If the suffix is another one.
        """
        write_classification(Path(path), self.to_dict(), self.labels)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> VideoClassification:
        """Read a ``.json`` file that :meth:`save` wrote.

        Raises:
            InputError: If the file cannot be read, has another format or is damaged.
        """
        values = read_classification(Path(path))
        clips = values["clips"]
        return cls(
            np.array([clip["probabilities"] for clip in clips], np.float64),
            np.array([clip["start_seconds"] for clip in clips], np.float64),
            np.array([clip["end_seconds"] for clip in clips], np.float64),
            values["head"],
            values["provenance"],
        )

    def _names(self, decision: npt.NDArray[np.int64]) -> tuple[str, ...]:
        """Return the labels of one decision: a class index, or a row of 0 and 1."""
        if self.head.multi_label:
            return tuple(label for label, positive in zip(self.labels, decision, strict=True) if positive)
        return (self.labels[int(decision)],)
