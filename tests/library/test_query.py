"""Queries: moments, images, feature files, and what they are refused for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm import FeatureLibrary, demo_video, load_encoder
from endofm.errors import InputError, VideoError
from endofm.library.query import parse_span, split_moment
from helpers.made_library import write_recordings


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> FeatureLibrary:
    """A library of the packaged procedure, and of a second one that shows its end."""
    folder = tmp_path_factory.mktemp("library")
    encoder = load_encoder("endofm-nano-4x96")
    features = encoder.extract_features(demo_video(), window_seconds=1, progress=False)
    (folder / "features").mkdir()
    features.save(folder / "features" / "procedure.mp4.safetensors")
    made = FeatureLibrary(folder / "a.lance")
    made.add(folder / "features", progress=False)
    return made


@pytest.mark.parametrize(
    ("text", "name", "seconds"),
    [
        ("a.mp4@03:20", "a.mp4", 200.0),
        ("a.mp4@1:02:03.5", "a.mp4", 3723.5),
        ("me@home/a.mp4@7", "me@home/a.mp4", 7.0),
        ("a.mp4", "a.mp4", None),
    ],
)
def test_names_with_times(text: str, name: str, seconds: float | None) -> None:
    assert split_moment(text) == (name, seconds)


def test_names_that_only_look_like_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a@3.mp4").touch()
    assert split_moment("a@3.mp4") == ("a@3.mp4", None)
    with pytest.raises(InputError, match=r"'noon' is no time; write seconds, MM:SS"):
        split_moment("a.mp4@noon")
    assert parse_span("02:00-05:30") == (120.0, 330.0)
    with pytest.raises(InputError, match="START-END"):
        parse_span("02:00")


def test_a_moment_of_a_video_is_the_clip_that_was_extracted(library: FeatureLibrary, tmp_path: Path) -> None:
    elsewhere = shutil.copy(demo_video(), tmp_path / "procedure.mp4")
    stored, embedded = library.query("procedure.mp4@0:07"), library.query(f"{elsewhere}@0:07")
    assert np.allclose(stored.unit, embedded.unit, atol=1e-5)
    assert stored.recording == embedded.recording != None  # noqa: E711 - the chain compares all three
    # The only recording is left out, so that nothing is left.
    assert not library.search(f"{elsewhere}@0:07")
    best = library.search(f"{elsewhere}@0:07", 1, same_recording=True)[0]
    assert best.start_seconds == 7.0
    assert best.above_unrelated is None
    with pytest.raises(InputError, match="there is no 5:00 in it; it ends at 0:20"):
        library.search(f"{shutil.copy(demo_video(), tmp_path / 'other.mp4')}@05:00")


def test_an_image_as_a_file_and_in_memory(library: FeatureLibrary, tmp_path: Path) -> None:
    from endofm import open_video

    with open_video(demo_video()) as video:
        (frame,) = video.sample([3.5])
    picture = Image.fromarray(frame.data)
    picture.save(tmp_path / "still.png")
    for like in (tmp_path / "still.png", picture, frame.data):
        best = library.search(like, 1)[0]
        assert abs(best.start_seconds - 3) <= 1


def test_queries_that_cannot_be_understood(library: FeatureLibrary, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(VideoError, match=r"text\.png"):
        library.search(tmp_path / "text.png")
    with pytest.raises(InputError, match="no such file, and no recording of this name"):
        library.search("nothing.mp4@3")
    other = shutil.copy(demo_video(), tmp_path / "other.mp4")
    with pytest.raises(InputError, match=r"name the moment to look for, as in other\.mp4@03:20"):
        library.search(str(other))
    with pytest.raises(InputError, match="width 192, got 7"):
        library.search(np.zeros(7, np.float32))
    with pytest.raises(InputError, match="nothing at 300"):
        library.search("procedure.mp4@5:00")
    with pytest.raises(InputError, match="k must be an integer"):
        library.search("procedure.mp4@3", 0)


def test_weights_are_those_of_the_library(library: FeatureLibrary, tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(InputError, match="other weights than those of the library"):
        FeatureLibrary(library.folder, weights="endofm-tiny-8x224-random").search(picture)
    made = FeatureLibrary(tmp_path / "made.lance")
    made.add(write_recordings(tmp_path / "features", 2), progress=False)
    with pytest.raises(InputError, match="are not found by this name; name their folder or file with --weights"):
        made.search(picture)


def test_one_name_of_two_recordings(tmp_path: Path) -> None:
    library = FeatureLibrary(tmp_path / "a.lance")
    write_recordings(tmp_path / "a", 1)
    write_recordings(tmp_path / "b", 1, clips=5)
    library.add([tmp_path / "a", tmp_path / "b"], progress=False)
    with pytest.raises(InputError, match="the name of 2 recordings"):
        library.search("0.mp4@1")
    assert library.search(str(tmp_path / "b" / "0.mp4.safetensors") + "@1", 1, same_recording=True)
