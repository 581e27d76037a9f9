"""Videos by address: the frames of the file itself, read by ranges, whatever the store does."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import endofm
from endofm.address import Address, without_secrets
from endofm.cli.main import main
from endofm.errors import MissingExtraError, VideoError
from endofm.inference.job_manifest import read_entries
from helpers.s3_store import S3Store, s3_store
from helpers.video_makers import read_number, write_clip


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    with s3_store(monkeypatch) as found:
        yield found


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Minutes of pictures of numbers, without loss: 6 MB or more."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    write_clip(path, numbers=range(2000), fps=5, options={"crf": "0", "g": "25", "preset": "ultrafast"})
    return path.read_bytes()


def numbers(source: str, seconds: list[float]) -> list[int]:
    with endofm.open_video(source) as opened:
        return [read_number(frame.data) for frame in opened.sample(seconds)]


def test_a_few_frames_of_a_long_file_are_a_few_of_its_bytes(store: S3Store, video: bytes) -> None:
    url = store.put("procedures/long.mp4", video)
    assert len(video) > 6 * 2**20
    assert numbers(url, [2.0, 350.0]) == [10, 1750]
    assert 0 < store.bytes_read < len(video) * 0.7


def test_features_are_those_of_the_file(store: S3Store) -> None:
    path = endofm.demo_video()
    url = store.put("procedures/demo.mp4", Path(path).read_bytes())
    model = endofm.load_encoder("endofm-nano-4x96")
    there = model.extract_features(url, window_seconds=10, progress=False)
    here = model.extract_features(path, window_seconds=10, progress=False)
    np.testing.assert_array_equal(there.embeddings, here.embeddings)
    assert not there.problems
    same = {"size_bytes": None, "name": "demo.mp4"}
    assert there.provenance["video"] == {**here.provenance["video"], **same}


def test_the_commands_take_addresses(store: S3Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = Path(endofm.demo_video()).read_bytes()
    first, second = store.put("a/one.mp4", content), store.put("b/one.mp4", content)
    (tmp_path / "list.txt").write_text(f"{second}\ns3://archive/nothing.mp4\n", encoding="utf-8")
    out = tmp_path / "features"
    command = ["extract", first, "--list", str(tmp_path / "list.txt"), "-o", str(out), "--weights", "endofm-nano-4x96"]
    command += ["--window-seconds", "10", "--jobs", "2"]
    # One is missing, which stops none of the others; those of one name are named after their folders.
    assert main(command) == 1
    assert "s3://archive/nothing.mp4: there is no such object" in capsys.readouterr().err
    entries = {entry.output: entry for entry in read_entries(out)}
    assert {entry.source for entry in entries.values()} == {first, second}
    assert set(entries) == {"a/one.mp4.safetensors", "b/one.mp4.safetensors"}
    assert {entry.size_bytes for entry in entries.values()} == {len(content)}
    # Nothing twice; a changed object is done again.
    assert main(command) == 1
    assert "2 of 3 videos" in (said := capsys.readouterr().out)
    assert "(2 of them done before)" in said
    store.put("a/one.mp4", content + b"\0\0\0\x08free")
    assert main(command) == 1
    assert "(1 of them done before)" in capsys.readouterr().out


def test_from_a_store_into_a_store(store: S3Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = Path(endofm.demo_video()).read_bytes()
    for name in ("videos/a/one.mp4", "videos/two.mkv", "videos/notes.txt", "videos/other"):
        store.put(name, content)
    command = ["extract", "s3://archive/videos", "--weights", "endofm-nano-4x96", "--window-seconds", "10", "-o"]
    assert main([*command, "s3://archive/features", "--jobs", "2"]) == 0
    said = capsys.readouterr()
    assert "2 of 2 videos in s3://archive/features" in said.out
    assert "left out: s3://archive/videos/other: its name does not say" in said.err
    assert main([*command, str(tmp_path / "features")]) == 0
    names = {"a/one.mp4.safetensors", "two.mkv.safetensors", "manifest.json"}
    assert {name.removeprefix("features/") for name in store.names() if name.startswith("features/")} == names
    for name in names:
        assert store.get(f"features/{name}") == (tmp_path / "features" / name).read_bytes()
    assert main([*command, "s3://archive/features"]) == 0
    assert "(2 of them done before)" in capsys.readouterr().out
    # One result into one object; what cannot be written to is said before any work.
    still = ["classify", "s3://archive/videos/two.mkv", "-o"]
    assert main([*still, "s3://archive/one.json"]) == 0
    assert b"probabilities" in store.get("one.json")
    assert main([*still, "s3://archive/one.json"]) == 1
    assert main([*still, "https://127.0.0.1/results"]) == 1
    assert main(["export", "--weights", "endofm-nano-4x96", "--to", "onnx", "-o", "s3://archive/x"]) == 1
    said = capsys.readouterr()
    assert "s3://archive/one.json exists already" in said.err
    assert "results cannot be written to a web server" in said.err
    assert "this command writes to a folder of this machine" in said.err


@pytest.mark.parametrize("faults", [[500, 500], ["cut"], ["slow"]], ids=["500", "cut", "slow"])
def test_what_passes_is_waited_for(store: S3Store, video: bytes, faults: list[int | str]) -> None:
    store.faults = list(faults)
    assert numbers(store.put("long.mp4", video), [2.0, 350.0]) == [10, 1750]
    assert not store.faults


@pytest.mark.parametrize(
    ("fault", "message"),
    [(403, "access was denied; credentials come from"), (404, "there is no such object"), ("cut", "reading failed")],
)
def test_what_stays_is_an_error_and_not_the_end_of_the_video(
    store: S3Store, video: bytes, fault: int | str, message: str
) -> None:
    url = store.put("long.mp4", video)
    with endofm.open_video(url) as opened:
        assert [read_number(frame.data) for frame in opened.sample([1.0])] == [5]
        store.faults, store.lasting = [fault], True
        with pytest.raises(VideoError, match=message) as caught:
            list(opened.sample([350.0]))
    shown = "".join(traceback.format_exception(caught.value))
    assert url in shown
    assert "very-secret" not in shown


def test_an_object_that_is_replaced_is_not_mixed(store: S3Store, video: bytes) -> None:
    url = store.put("long.mp4", video)
    with endofm.open_video(url) as opened:
        list(opened.sample([1.0]))
        store.put("long.mp4", video[::-1])
        with pytest.raises(VideoError, match="replaced while it was read"):
            list(opened.sample([350.0]))


def test_objects_that_are_not_there(store: S3Store) -> None:
    with pytest.raises(VideoError, match=r"s3://archive/nothing\.mp4: there is no such object"):
        endofm.open_video("s3://archive/nothing.mp4")


def test_other_stores(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    path = write_clip(tmp_path / "x.mp4") or tmp_path / "x.mp4"
    fsspec.filesystem("memory").pipe("/clips/x.mp4", (tmp_path / "x.mp4").read_bytes())
    assert numbers("memory://clips/x.mp4", [1.0]) == numbers(f"file://{path}", [1.0]) == [25]


def test_addresses_that_are_not_read() -> None:
    for url in (
        "rtsp://camera/1",
        "http://127.0.0.1/x.mp4",
        "zip://a.mp4::s3://archive/x.zip",
        "sftp://u:pw@host/x.mp4",
    ):
        with pytest.raises(VideoError, match="addresses of this kind are not read") as caught:
            endofm.open_video(url)
        assert "pw" not in str(caught.value)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = pytest.importorskip("fsspec.registry")
    missing = {"class": "not_there.X", "err": "Install not_there"}
    monkeypatch.setitem(registry.known_implementations, "abfs", missing)
    with pytest.raises(MissingExtraError, match=r"pip install \"endofm\[remote\]\""):
        endofm.open_video("abfs://container/x.mp4")


def test_secrets_are_cut_off() -> None:
    assert without_secrets("https://me:pw@host/x.mp4?X-Amz-Signature=abc") == "https://host/x.mp4"
    assert str(Address("https://me:pw@host/x.mp4?sig=1")) == "https://host/x.mp4"
    assert (Address("https://host/a/x.mp4?sig=1.avi").name, Address("s3://b/x.mp4").suffix) == ("x.mp4", ".mp4")
    assert Address("s3://b/a#1.mp4").name == "a#1.mp4"
    assert without_secrets("403, url='https://host/x?sig=1'") == "403, url='https://host/x'"
