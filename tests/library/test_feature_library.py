"""``FeatureLibrary``: adding, refusing to mix, searching, filters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from endofm import FeatureLibrary
from endofm.errors import InputError, JobError
from endofm.library import store
from helpers.made_library import DIM, WEIGHTS, recording, write_recordings


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of two sets: recordings 0 to 4 with labels and patients, 5 to 7 without."""
    folder = tmp_path_factory.mktemp("archive")
    labels = folder / "labels.csv"
    lines = [f"{number}.mp4,kind 1,5,10,p{number}" for number in range(5)] + ["0.mp4,it's,0,5,p0"]
    labels.write_text("path,label,start,end,patient\n" + "\n".join(lines) + "\n")
    library = FeatureLibrary(folder / "a.lance")
    library.add(write_recordings(folder / "first", 5), labels=labels, progress=False)
    library.add(write_recordings(folder / "second", 3, first=5), set="other's", progress=False)
    return folder / "a.lance"


def test_a_library_is_a_description_of_what_it_holds(archive: Path) -> None:
    library = FeatureLibrary(archive)
    assert len(library) == 96
    assert [one.name for one in library.recordings] == [f"{number}.mp4" for number in range(8)]
    assert repr(library).startswith("FeatureLibrary(8 recordings, 96 clips, made in ")
    described = library.describe()
    assert described["sets"] == {"first": 5, "other's": 3}
    assert described["settings"]["weights_sha256"] == WEIGHTS["sha256"]
    assert "pairs" in described["unrelated"]


def test_hits_are_of_the_kind_and_never_of_the_recording(archive: Path) -> None:
    library = FeatureLibrary(archive)
    hits = library.search("3.mp4@0:07", 7)
    # Clip 1 of each other recording is most similar, or another of the same kind.
    assert all(round(hit.start_seconds / 5) % 4 == 1 for hit in hits)
    assert "3.mp4" not in {hit.recording.name for hit in hits}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].above_unrelated is not None
    assert hits[0].above_unrelated > 0.9
    own = library.search("3.mp4@0:07", 1, same_recording=True)
    assert own[0].recording.name == "3.mp4"
    assert own[0].score == pytest.approx(1, abs=1e-5)


def test_scores_are_those_of_a_calculation_by_hand(archive: Path) -> None:
    library = FeatureLibrary(archive)
    query = np.asarray(recording(42))[0]
    rows = np.concatenate([np.asarray(recording(number)) for number in range(8)])
    mean = np.array(library.calibration.mean)
    centred = rows / np.linalg.norm(rows, axis=1, keepdims=True) - mean
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    unit = query / np.linalg.norm(query) - mean
    expected = np.sort(centred @ (unit / np.linalg.norm(unit)))[::-1]
    assert [hit.score for hit in library.search(query, 96)] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_copy_of_the_video_elsewhere_is_the_same_recording(archive: Path, tmp_path: Path) -> None:
    whole = recording(3)
    jittered = replace(whole, embeddings=whole.embeddings + np.float32(1e-3))
    file = jittered.save(tmp_path / "again.npz")
    library = FeatureLibrary(archive)
    assert "3.mp4" not in {hit.recording.name for hit in library.search(f"{file}@7", 96)}
    assert library.search(f"{file}@7", 1, same_recording=True)[0].recording.name == "3.mp4"


def test_filters(archive: Path) -> None:
    library = FeatureLibrary(archive)
    query = np.asarray(recording(42))[1]
    assert {hit.recording.set for hit in library.search(query, 96, set="other's")} == {"other's"}
    assert {hit.recording.name for hit in library.search(query, 96, patient="p2")} == {"2.mp4"}
    labelled = library.search(query, 96, label="kind 1")
    assert {(hit.recording.name, hit.start_seconds) for hit in labelled} == {(f"{n}.mp4", 5.0) for n in range(5)}
    assert {hit.label for hit in labelled} == {"kind 1"}
    assert [hit.label for hit in library.search(query, 96, label="it's")] == ["it's"]
    times = {hit.start_seconds for hit in library.search(query, 96, between=(11, 14))}
    assert times == {10.0}
    assert {hit.start_seconds for hit in library.search(query, 96, between=(10, 15))} == {10.0}
    assert {hit.start_seconds for hit in library.search(query, 96, between=(7, 7))} == {5.0}
    with pytest.raises(InputError, match="ends before it starts"):
        library.search(query, between=(3, 1))
    with pytest.raises(InputError, match="a time must be a number"):
        library.search(query, between=("0 OR 1=1", 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "x' OR '1'='1",
        "' OR 1=1 --",
        "'; DELETE FROM clips; --",
        "first') OR (set = 'other''s",
        '" OR ""="',
        "\\' OR 1=1 --",
        "%",
        "first\n",
        "\N{RIGHT SINGLE QUOTATION MARK} OR 1=1",
    ],
)
@pytest.mark.parametrize("name", ["set", "patient", "label"])
def test_a_filter_is_a_value_and_never_part_of_a_query(archive: Path, name: str, text: str) -> None:
    library = FeatureLibrary(archive)
    filters: dict = {name: text}
    assert not library.search(np.ones(DIM, np.float32), 96, **filters)
    assert len(library) == 96


def test_filters_that_are_no_strings(archive: Path) -> None:
    library = FeatureLibrary(archive)
    with pytest.raises(InputError, match="set must be a string"):
        library.search(np.ones(DIM, np.float32), set=5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="label must be a string"):
        library.search(np.ones(DIM, np.float32), label="a\0b")


def test_adding_is_idempotent_and_changed_files_replace(tmp_path: Path) -> None:
    features = write_recordings(tmp_path / "features", 3)
    library = FeatureLibrary(tmp_path / "a.lance")
    assert len(library.add(features, progress=False).added) == 3
    again = library.add(features, progress=False)
    assert (len(again.added), again.skipped, len(library)) == (0, 3, 36)
    # A copy elsewhere is the same recording; a file that was extracted anew replaces what was there.
    copies = write_recordings(tmp_path / "copies", 1)
    assert library.add(copies, progress=False).copies[0][1].endswith("features/0.mp4.safetensors")
    recording(1, clips=5).save(features / "1.mp4.safetensors")
    changed = library.add(features, progress=False)
    assert ([one.name for one in changed.added], len(library)) == (["1.mp4"], 29)
    assert len(library.search("1.mp4@7", 96, same_recording=True)) == 29


def test_labels_may_come_later(tmp_path: Path) -> None:
    features = write_recordings(tmp_path / "features", 2)
    library = FeatureLibrary(tmp_path / "a.lance")
    library.add(features, progress=False)
    (tmp_path / "labels.csv").write_text("path,label\n0.mp4,polyp\n1.mp4,none\n")
    assert len(library.add(features, labels=tmp_path / "labels.csv", progress=False).added) == 2
    assert len(library) == 24
    query = np.asarray(recording(9))[0]
    assert {hit.recording.name for hit in library.search(query, 24, label="polyp")} == {"0.mp4"}
    assert library.add(features, labels=tmp_path / "labels.csv", progress=False).skipped == 2


def test_other_weights_and_settings_are_refused_in_one_sentence(tmp_path: Path) -> None:
    library = FeatureLibrary(tmp_path / "a.lance")
    library.add(write_recordings(tmp_path / "features", 2), progress=False)
    others = {
        "weights": {**WEIGHTS, "sha256": "cd" * 32},
        "precision": "bfloat16",
        "windows": {"num_frames": 4, "window_seconds": 2.0, "hop_seconds": 2.0},
    }
    for name, value in others.items():
        folder = write_recordings(tmp_path / name, 1, first=7, **{name: value})
        with pytest.raises(
            JobError, match=r"7\.mp4\.safetensors cannot be added: .* holds the results of other"
        ) as found:
            library.add(folder, progress=False)
        assert name in str(found.value)
        assert "\n" not in str(found.value)
    assert len(library) == 24
    # A query of other windows has no comparable embedding; one of another precision has.
    query = recording(7, windows=others["windows"]).save(tmp_path / "query.npz")
    with pytest.raises(JobError, match="window_seconds was 5.0 and is now 2.0"):
        library.search(str(query))
    near = recording(7, precision="bfloat16").save(tmp_path / "near.npz")
    assert library.search(str(near), 3)


def test_two_kinds_of_weights_in_one_folder_make_no_library(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "features", 1)
    write_recordings(folder, 1, first=1, weights={**WEIGHTS, "sha256": "cd" * 32})
    library = FeatureLibrary(tmp_path / "a.lance")
    with pytest.raises(JobError, match="weights_sha256"):
        library.add(folder, progress=False)
    assert len(library) == 0


def test_one_bad_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "features", 2)
    (folder / "bad.npz").write_bytes(b"damaged")
    recording(5, weights={}).save(folder / "unknown.npz")
    report = FeatureLibrary(tmp_path / "a.lance").add(folder, progress=False)
    assert len(report.added) == 2
    reasons = dict(report.failed)
    assert "damaged" in reasons[str(folder / "bad.npz")]
    assert "do not state their weights" in reasons[str(folder / "unknown.npz")]


def test_a_library_that_grows_is_the_one_that_was_built_at_once(tmp_path: Path) -> None:
    grown = FeatureLibrary(tmp_path / "grown.lance")
    for number in range(8):
        grown.add(write_recordings(tmp_path / str(number), 1, first=number), set="x", progress=False)
    built = FeatureLibrary(tmp_path / "built.lance")
    built.add([tmp_path / str(number) for number in range(8)], set="x", progress=False)
    assert grown.calibration.recordings == 8
    assert np.allclose(grown.calibration.mean, built.calibration.mean, atol=1e-6)
    query = np.asarray(recording(42))[0]
    scores = [[hit.score for hit in library.search(query, 96)] for library in (grown, built)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_an_index_finds_what_a_comparison_of_all_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "INDEX_FROM", 1000)
    library = FeatureLibrary(tmp_path / "a.lance")
    library.add(write_recordings(tmp_path / "features", 6, clips=200), progress=False)
    assert library.describe()["indexed"]
    for clip in (3, 77, 150):
        moment = f"2.mp4@{clip * 5 + 1}"
        found, exact = (library.search(moment, 10, exact=exact) for exact in (False, True))
        assert "2.mp4" not in {hit.recording.name for hit in found}
        keys = [{(hit.recording.name, hit.start_seconds) for hit in hits} for hits in (found, exact)]
        assert len(keys[0] & keys[1]) >= 9
        # Scores of an index are computed from the vectors themselves.
        assert found[0].score == pytest.approx(exact[0].score, abs=1e-5)
    # What is added later is found as well, and the index still answers.
    library.add(write_recordings(tmp_path / "more", 1, first=50, clips=200), progress=False)
    assert library.describe()["indexed"]
    assert library.search("50.mp4@1", 1, same_recording=True)[0].recording.name == "50.mp4"


def test_folders_that_are_no_library(tmp_path: Path) -> None:
    features = write_recordings(tmp_path / "features", 1)
    with pytest.raises(InputError, match="is no library"):
        FeatureLibrary(features)
    with pytest.raises(InputError, match="there is no library"):
        FeatureLibrary(tmp_path / "none.lance").search("x")
    assert not (tmp_path / "none.lance").exists()
    with pytest.raises(InputError, match="is a file"):
        FeatureLibrary(features / "0.mp4.safetensors")
    library = FeatureLibrary(tmp_path / "a.lance")
    library.add(features, progress=False)
    for manifest in (tmp_path / "a.lance" / "clips.lance" / "_versions").glob("*.manifest"):
        manifest.write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged"):
        FeatureLibrary(tmp_path / "a.lance").search("x")
