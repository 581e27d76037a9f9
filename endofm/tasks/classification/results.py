"""``VideoClassification``: class probabilities of a video, with the times that they belong to."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.files import atomic_path
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.decision import decide
from endofm.tasks.features.results import clock
from endofm.video.frames import Float64Array

DISCLAIMER = "Research software: no result is medical advice."


@dataclass(frozen=True, eq=False, repr=False)
class VideoClassification:
    """Class probabilities of one video, clip by clip in order of time.

    Attributes:
        probabilities: float64 ``(num_clips, num_classes)``.
        start_seconds: Begin of each clip, seconds after the first frame, float64 ``(num_clips,)``.
        end_seconds: End of each clip, float64 ``(num_clips,)``.
        head: Labels, thresholds, and whether several labels may hold.
        provenance: How it came about: weights, preprocessing, windows, library, source, problems. Plain JSON values.

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

    def __repr__(self) -> str:
        told = ", ".join(f"{label} {self.video_probabilities[self.labels.index(label)]:.2f}" for label in self.said)
        span = f"{clock(self.start_seconds[0])}-{clock(self.end_seconds[-1])}"
        random = ", random weights: it means nothing" if self.untrained else ""
        return f"VideoClassification({len(self)} clips, {span}, {told or 'no label'}{random})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the order of the columns."""
        return self.head.labels

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """What is predicted of each clip: class numbers, or rows of 0 and 1 if several labels may hold."""
        return decide(self.probabilities, self.head)

    @property
    def video_probabilities(self) -> Float64Array:
        """Mean over the clips, weighted by the time that each stands for, float64 ``(num_classes,)``."""
        seconds = np.maximum(self.end_seconds - self.start_seconds, 1e-9)
        return np.asarray(np.average(self.probabilities, axis=0, weights=seconds))

    @property
    def said(self) -> tuple[str, ...]:
        """Labels that are predicted of the whole video: one, or any number if several may hold."""
        decided = decide(self.video_probabilities, self.head)
        if self.head.multi_label:
            return tuple(label for label, holds in zip(self.labels, decided, strict=True) if holds)
        return (self.labels[int(decided)],)

    @property
    def untrained(self) -> bool:
        """True if the weights are known to be random, so that the probabilities mean nothing."""
        config = self.provenance.get("weights", {}).get("config", {})
        return config.get("trained") is False

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be decoded, one sentence each; empty for a sound video."""
        return tuple(self.provenance.get("problems", ()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "format": "endofm-classification",
            "format_version": 1,
            "labels": list(self.labels),
            "multi_label": self.head.multi_label,
            "video": {"said": list(self.said), "probabilities": self.video_probabilities.tolist()},
            "clips": [
                {"start_seconds": start, "end_seconds": end, "said": said, "probabilities": row}
                for start, end, said, row in zip(
                    self.start_seconds.tolist(),
                    self.end_seconds.tolist(),
                    self._said_of_clips(),
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
        path = Path(path)
        if path.suffix.lower() not in (".json", ".csv"):
            raise InputError(f"{path}: a classification is written as .json or .csv, not {path.suffix!r}")
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".json":
                json.dump(self.to_dict(), file, indent=1)
                return path
            writer = csv.writer(file)
            writer.writerow(["start_seconds", "end_seconds", "said", *(f"p({label})" for label in self.labels)])
            for clip in self.to_dict()["clips"]:
                numbers = [f"{value:.6f}" for value in clip["probabilities"]]
                times = [f"{clip[name]:.3f}" for name in ("start_seconds", "end_seconds")]
                writer.writerow([*times, "+".join(clip["said"]), *numbers])
        return path

    def _said_of_clips(self) -> list[list[str]]:
        if self.head.multi_label:
            return [[self.labels[i] for i in np.flatnonzero(row)] for row in self.predicted]
        return [[self.labels[number]] for number in self.predicted]
