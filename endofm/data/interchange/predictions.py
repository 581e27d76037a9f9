"""Files of results, as the commands write them, as labels of images and videos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region, labels_of, masked_region
from endofm.errors import InputError
from endofm.inference.job_manifest import read_entries
from endofm.json_text import read_json
from endofm.tasks.classification.results import VideoClassification
from endofm.tasks.detection.results import VideoDetections
from endofm.tasks.segmentation import run_lengths
from endofm.tasks.segmentation.results import VideoMasks
from endofm.video.find import IMAGE_SUFFIXES


def read_predictions(paths: Iterable[str | Path], *, min_score: float = 0.0) -> LabelSet:
    """Read results of ``classify``, ``segment`` and ``detect``.

    Args:
        paths: Files ``.json``, and folders with a manifest.
        min_score: Smallest score of a box or mask.

    Raises:
        InputError: If there is no such file, it is none of them, or a folder has results of another format only.
    """
    media: dict[str, LabelledMedium] = {}
    labels: list[str] = []
    for path in map(Path, paths):
        for name, file in _files(path):
            medium, known = _medium(name, file, min_score)
            media[medium.name] = _joined(media[medium.name], medium) if medium.name in media else medium
            labels += known
    if not media:
        raise InputError("no results given; name .json files, or folders that a command has filled")
    return LabelSet(tuple(media.values()), labels_of(media.values(), list(dict.fromkeys(labels))))


def _joined(first: LabelledMedium, second: LabelledMedium) -> LabelledMedium:
    """Return the labels of two results of one image or video."""
    return replace(
        first,
        frames=None if first.frames is None else max(first.frames, second.frames or 0),
        width=first.width or second.width,
        height=first.height or second.height,
        regions=first.regions + second.regions,
        classes=first.classes + second.classes,
        spans=first.spans + second.spans,
    )


def _files(path: Path) -> list[tuple[str, Path]]:
    """Return names of media, empty if the file tells, and files of results."""
    if not path.is_dir():
        return [("", path)]
    files = []
    for entry in read_entries(path):
        if entry.output.endswith(".json"):
            files.append((entry.output.removesuffix(".json"), path / entry.output))
    if not files:
        raise InputError(f"{path}: there are no results as .json in it")
    return files


def _medium(name: str, file: Path, min_score: float) -> tuple[LabelledMedium, tuple[str, ...]]:
    try:
        values = read_json(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise InputError(f"{file}: not a readable JSON file ({error})") from error
    kind = values.get("format") if isinstance(values, dict) else None
    info = values.get("info") if isinstance(values, dict) else None
    if kind == "endofm-classification":
        return _classified(VideoClassification.load(file), name)
    if isinstance(info, dict) and info.get("format") == "endofm-masks":
        return _segmented(VideoMasks.load(file), name, min_score)
    return _detected(VideoDetections.load(file), name, min_score)


def _frames(name: str, count: int) -> int | None:
    return None if Path(name).suffix.lower() in IMAGE_SUFFIXES else count


def _classified(result: VideoClassification, name: str) -> tuple[LabelledMedium, tuple[str, ...]]:
    video: Mapping[str, Any] = result.provenance.get("video") or {}
    name = name or str(video.get("name") or "video")
    probabilities = dict(zip(result.labels, result.video_probabilities.tolist(), strict=True))
    classes = tuple((label, probabilities[label]) for label in result.predicted_labels)
    frames = _frames(name, int(video.get("num_frames") or 0))
    spans: list[tuple[int, int, str]] = []
    if frames is not None and (fps := video.get("average_fps")):
        for index, clip in enumerate(result):
            first, after = round(clip.start_seconds * fps), round(clip.end_seconds * fps)
            spans += [(first, after, label) for label in result[[index]].predicted_labels]
    return LabelledMedium(
        name=name,
        width=int(video.get("width") or 0),
        height=int(video.get("height") or 0),
        frames=frames,
        classes=classes,
        spans=tuple(spans),
    ), ()


def _segmented(result: VideoMasks, name: str, min_score: float) -> tuple[LabelledMedium, tuple[str, ...]]:
    provenance = result.provenance
    name = name or str((provenance.get("video") or {}).get("name") or "video")
    # Masks are numbered among the frames that were segmented.
    stride = int((provenance.get("windows") or {}).get("frame_stride", 1))
    regions = []
    for packed in result.packed:
        for value, runs in packed.runs.items():
            if packed.scores[value] < min_score:
                continue
            mask = run_lengths.decode(runs, result.height, result.width)
            region = masked_region(
                result.labels[value], mask, frame=packed.index * stride, score=float(packed.scores[value])
            )
            regions += [region] if region is not None else []
    last = result.packed[-1].index * stride + 1 if len(result) else 0
    return LabelledMedium(
        name=name,
        width=result.width,
        height=result.height,
        frames=_frames(name, last),
        regions=tuple(regions),
    ), result.labels[1:]


def _detected(result: VideoDetections, name: str, min_score: float) -> tuple[LabelledMedium, tuple[str, ...]]:
    name = name or str(result.provenance.get("video") or "video")
    regions = [
        Region(
            label=result.label_names[label],
            box=(box[0], box[1], box[2], box[3]),
            frame=frame.index,
            track=None if track < 0 else track,
            score=score,
        )
        for frame in result.above(min_score)
        for box, label, score, track in zip(
            frame.boxes.tolist(), frame.labels.tolist(), frame.scores.tolist(), frame.tracks.tolist(), strict=True
        )
    ]
    last = result.frames[-1].index + 1 if len(result) else 0
    return LabelledMedium(
        name=name,
        width=result.width,
        height=result.height,
        frames=_frames(name, last),
        regions=tuple(regions),
    ), result.label_names
