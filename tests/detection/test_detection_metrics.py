"""Metrics of detectors: the original's measure, a slow second computation, and rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.data.detection.detection_set import DetectionSet, LabelledFrame, LabelledVideo
from endofm.errors import InputError
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.box_matching import localisation_counts, match_frame
from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.evaluation.detection_records import (
    DetectionResults,
    FrameResult,
    VideoResult,
    check_labels,
    compare_video,
    lesion_numbers,
)
from endofm.evaluation.detection_report import DetectionReport
from endofm.evaluation.frame_presence import presence_counts, presence_metrics
from endofm.tasks.detection.frame_detections import FrameDetections
from endofm.tasks.detection.tracks import box_iou
from helpers import detection_fill as fill
from helpers.boxed_sets import bright

LABELS = ("adenomatous", "hyperplastic")
Rows = list[tuple[float, float, float, float]]


def frame(
    true: Rows, found: Rows, scores: list[float], *, tracks: list[int] | None = None, **more: object
) -> FrameResult:
    values: dict[str, object] = {
        "path": Path("none.png"),
        "true_boxes": np.array(true, np.float32).reshape(-1, 4),
        "true_labels": np.zeros(len(true), np.int64),
        "true_tracks": np.array(range(len(true)) if tracks is None else tracks, np.int64),
        "boxes": np.array(found, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.zeros(len(found), np.int64),
        "name": "v/1",
        **more,
    }
    return FrameResult(**values)  # type: ignore[arg-type]


def far_frames() -> list[FrameResult]:
    """Frames of the golden case: everything that was found lies far from what is there."""
    frames = []
    for labels, scores in fill.METRIC_FRAMES:
        true = [(10.0, 10.0, 20.0, 20.0)] * len(labels)
        found = [(80.0, 80.0, 90.0, 90.0)] * len(scores)
        frames.append(frame(true, found, scores))
    return frames


def test_presence_equals_the_original(goldens: fill.Goldens) -> None:
    counts = presence_counts(far_frames(), 0.5)
    tp, fp, tn, fn = goldens["metric/counts"].tolist()
    assert counts == (tp, fp, tn, fn)
    for place, one in enumerate(far_frames()):
        assert presence_counts([one], 0.5) == tuple(goldens["metric/per_frame"][place].tolist())
    values = [100 * value for value in presence_metrics(counts).values()]
    np.testing.assert_allclose(values, goldens["metric/values"], rtol=1e-6)
    # The same boxes are worth nothing as localisation.
    assert localisation_counts([match_frame(f, "iou") for f in far_frames()], 0.5)[0] == 0


def random_results(seed: int, videos: int = 4, frames: int = 5) -> DetectionResults:
    rng = np.random.default_rng(seed)

    def some(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        corner = rng.uniform(0, 60, (count, 2))
        return np.concatenate((corner, corner + rng.uniform(15, 30, (count, 2))), 1).astype(np.float32)

    made = []
    for v in range(videos):
        own = []
        for i in range(frames):
            true = some(int(rng.integers(0, 3)))
            near = true + rng.normal(0, 3, true.shape)
            found = np.concatenate((near, some(int(rng.integers(0, 3))))).astype(np.float32)
            own.append(
                FrameResult(
                    path=Path("x"),
                    true_boxes=true,
                    true_labels=rng.integers(0, 2, len(true)),
                    true_tracks=np.arange(len(true)),
                    boxes=found,
                    scores=rng.random(len(found)).astype(np.float32),
                    labels=rng.integers(0, 2, len(found)),
                    name=f"{v}/{i}",
                )
            )
        made.append(VideoResult(f"v{v}", f"p{v // 2}", 2.0, tuple(own)))
    return DetectionResults(LABELS, tuple(made))


def slow_average_precision(results: DetectionResults, iou: float) -> float:
    """COCO's definition, written down anew."""
    per_class = []
    for label in range(len(results.labels)):
        rows, objects = [], 0
        for one in results.frames:
            true = one.true_boxes[one.true_labels == label]
            objects += len(true)
            mine = one.labels == label
            boxes, scores = one.boxes[mine], one.scores[mine]
            free = np.ones(len(true), bool)
            for place in np.argsort(-scores, kind="stable"):
                overlap = box_iou(boxes[place : place + 1], true)[0] if len(true) else np.zeros(0)
                overlap = np.where(free & (overlap >= iou), overlap, -1)
                hit = bool(len(overlap)) and overlap.max() >= 0
                if hit:
                    free[overlap.argmax()] = False
                rows.append((float(scores[place]), hit))
        if not objects:
            continue
        rows.sort(key=lambda row: -row[0])
        hits = np.cumsum([hit for _, hit in rows])
        precision = np.maximum.accumulate((hits / np.arange(1, len(rows) + 1))[::-1])[::-1]
        recall = hits / objects
        levels = [precision[recall >= level - 1e-12].max(initial=0.0) for level in np.linspace(0, 1, 101)]
        per_class.append(np.mean(levels))
    return float(np.mean(per_class))


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_the_definition(seed: int) -> None:
    results = random_results(seed)
    metrics = DetectionMetrics(results)
    found = metrics.over()
    assert found["ap50"] == pytest.approx(slow_average_precision(results, 0.5), abs=1e-6)
    means = [slow_average_precision(results, iou) for iou in np.linspace(0.5, 0.95, 10)]
    assert found["ap50_95"] == pytest.approx(np.mean(means), abs=1e-6)
    # Over a choice of videos, one of them twice.
    chosen = [2, 0, 2]
    assert metrics.over(chosen)["ap50"] == pytest.approx(slow_average_precision(results.select(chosen), 0.5), abs=1e-6)


def test_pooled_counts_are_sums_of_videos() -> None:
    results = random_results(7)
    metrics = DetectionMetrics(results, threshold=0.3)
    whole = metrics.over()
    alone = DetectionMetrics(results.select([0, 1, 2, 3]), threshold=0.3).over()
    assert whole == alone
    matches = [match_frame(f, "iou") for f in results.frames]
    hit, false, missed = localisation_counts(matches, 0.3)
    assert whole["iou_precision"] == pytest.approx(hit / (hit + false))
    assert whole["iou_recall"] == pytest.approx(hit / (hit + missed))
    assert whole["false_alarms_per_minute"] == pytest.approx(false / (8 / 60))


def test_centre_and_overlap_are_different_rules() -> None:
    # A small box in the middle of a large object: its centre is inside, its overlap small.
    inside = frame([(0, 0, 100, 100)], [(45, 45, 55, 55)], [0.9])
    assert match_frame(inside, "centre").hits.tolist() == [0]
    assert match_frame(inside, "iou").hits.tolist() == [-1]
    # Of two boxes on one object the surer one hits; the other is a false alarm.
    double = frame([(0, 0, 10, 10)], [(0, 0, 10, 9), (0, 0, 10, 10)], [0.6, 0.9])
    assert match_frame(double, "iou").hits.tolist() == [-1, 0]
    # Leaving out low scores does not change what the others hit.
    assert localisation_counts([match_frame(double, "iou")], 0.7) == (1, 0, 0)
    assert localisation_counts([match_frame(double, "iou")], 0.5) == (1, 1, 0)
    assert localisation_counts([match_frame(double, "iou")], 0.95) == (0, 0, 1)


def test_recall_at_false_alarms_and_lesions() -> None:
    hit: Rows = [(0, 0, 10, 10)]
    away: Rows = [(50, 50, 60, 60)]
    frames = (
        frame(hit, hit + away, [0.9, 0.8], tracks=[0]),
        frame(hit, hit, [0.7], tracks=[0]),
        frame(hit, away, [0.3], tracks=[1]),
        frame([], away, [0.2]),
    )
    results = DetectionResults(LABELS, (VideoResult("v", "p", 60.0, frames),))
    found = DetectionMetrics(results, threshold=0.5).over()
    # One false box a minute: down to 0.3 exclusively, which lets 0.9 and 0.7 through.
    assert found["recall_at_1_per_minute"] == pytest.approx(2 / 3)
    assert found["recall_at_5_per_minute"] == pytest.approx(2 / 3)
    assert found["false_alarms_per_minute"] == pytest.approx(1.0)
    assert found["lesion_sensitivity"] == pytest.approx(0.5)  # the first of two lesions
    assert found["lesion_frames"] == pytest.approx(0.5)
    strict = DetectionMetrics(results, threshold=0.85).over()
    assert strict["lesion_sensitivity"] == pytest.approx(0.5)
    assert strict["lesion_frames"] == pytest.approx(0.25)


def test_what_is_not_there_is_not_a_number() -> None:
    results = DetectionResults(LABELS, (VideoResult("v", "p", 10.0, (frame([], [(0, 0, 5, 5)], [0.9]),)),))
    found = DetectionMetrics(results).over()
    assert np.isnan(found["ap50"])
    assert np.isnan(found["iou_recall"])
    assert np.isnan(found["lesion_sensitivity"])
    assert found["presence_specificity"] == 0


def labelled(tmp_path: Path, *, tracks: bool) -> LabelledVideo:
    frames = []
    for i in range(4):
        box = (10.0 + i, 10.0, 30.0 + i, 30.0)
        path = tmp_path / f"{i}.png"
        bright(48, 64, [("adenomatous", box)], i).save(path)
        row = np.array([box], np.float32)
        frames.append(LabelledFrame(path, i + 1, 64, 48, row, np.array([0]), np.array([5 if tracks else -1])))
    return LabelledVideo("v", "p", 2.0, tuple(frames))


def test_found_and_true_are_put_side_by_side(tmp_path: Path) -> None:
    video = labelled(tmp_path, tracks=True)
    assert [n.tolist() for n in lesion_numbers(video)] == [[5]] * 4
    assert [n.tolist() for n in lesion_numbers(labelled(tmp_path, tracks=False))] == [[0]] * 4
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    found = [FrameDetections(i, i / 2, 0.5, *nothing) for i in (0, 2)]
    result = compare_video(video, found, every=2)
    assert [f.name for f in result.frames] == ["v/1", "v/3"]
    assert result.seconds == 2.0
    with pytest.raises(InputError, match="v: expected predictions for 4 frames, got 2"):
        compare_video(video, found)
    with pytest.raises(InputError, match="the classes adenomatous, hyperplastic, the detector polyp"):
        check_labels(DetectionSet("set", LABELS, (video,)), ("polyp",))


def test_reports_have_intervals_by_patient_and_pictures(tmp_path: Path) -> None:
    image = tmp_path / "x.png"
    Image.new("RGB", (100, 100)).save(image)
    results = random_results(3)
    for video in results.videos:
        for one in video.frames:
            object.__setattr__(one, "path", image)
    report = DetectionReport.of(results, threshold=0.5, bootstrap=BootstrapSettings(resamples=40), notes=["a note"])
    file = report.save(tmp_path / "report")
    values = json.loads(file.read_text())
    ap50 = values["metrics"]["ap50"]
    assert ap50["low"] <= ap50["value"] <= ap50["high"]
    assert values["groups"] == 2
    assert set(values["per_video"]) == {"v0", "v1", "v2", "v3"}
    assert values["notes"][0] == "a note"
    assert "likely too narrow" in values["notes"][1]
    with Image.open(tmp_path / "report" / "worst.png") as sheet:
        assert sheet.width == 4 * 320
    assert (tmp_path / "report" / "sweep.png").stat().st_size > 5000
    assert len((tmp_path / "report" / "videos.csv").read_text().splitlines()) == 5
    assert "presence_f1" in report.summary()
    again = DetectionReport.of(results, threshold=0.5, bootstrap=BootstrapSettings(resamples=40))
    assert again.metrics["ap50"] == report.metrics["ap50"]
