"""Jobs whose results go to an object storage: whole or not there, resumed, and filled by one process at a time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endofm import output_place, store_lock
from endofm.address import Address
from endofm.errors import EndoFMWarning, JobError, StoreError, VideoError
from endofm.files import write_text
from endofm.inference.job import ItemResult, JobReport, run_job
from endofm.inference.job_manifest import read_entries
from endofm.inference.video_paths import VideoItem
from endofm.output_place import place_of
from endofm.pool import LocalEngine
from endofm.resume import LOCK_NAME
from endofm.video.object_file import open_remote
from helpers.s3_store import BUCKET, S3Store, s3_store

OUT = f"s3://{BUCKET}/out"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    with s3_store(monkeypatch) as found:
        yield found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of temporary files of this process and those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def items(store: S3Store) -> list[VideoItem]:
    return [VideoItem(Address(store.put(f"in/{name}", name.encode())), f"{name[0]}/{name}") for name in ("one", "two")]


def copy_upper(item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
    """Stand-in for a task: write the source in upper case."""
    with open_remote(str(item.path))[0] as file:
        text = file.read().decode()
    if "bad" in text:
        raise VideoError(f"{item.path}: cannot be decoded")
    for target in targets:
        write_text(target, text.upper())
    return ItemResult(summary={"letters": len(text)})


def copy_slowly(item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
    result = copy_upper(item, targets)
    time.sleep(0.3)
    return result


def run(items: list[VideoItem], out: str = OUT, **options: Any) -> JobReport:
    options = {"suffixes": (".txt", ".json"), "settings": {"level": "clip"}, **options}
    return run_job(items, out, copy_upper, progress=False, **options)


RESULTS = {f"out/{name}{suffix}" for name in ("o/one", "t/two") for suffix in (".txt", ".json")}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_store_ends_with_the_files_of_a_folder(
    store: S3Store, items: list[VideoItem], tmp_path: Path, temporary: Path, jobs: int
) -> None:
    report, local = run(items, engine=LocalEngine(jobs)), run(items, str(tmp_path))
    assert report == local
    assert not report.failed
    assert store.names() == {"in/one", "in/two", "out/manifest.json", *RESULTS}
    for key in ("manifest.json", "o/one.txt", "t/two.json"):
        assert store.get(f"out/{key}") == (tmp_path / key).read_bytes()
    assert read_entries(OUT) == read_entries(tmp_path)
    assert not list(temporary.glob("endofm-output-*"))


def test_only_what_is_missing_or_changed_or_failed_is_done_again(store: S3Store, items: list[VideoItem]) -> None:
    items.append(VideoItem(Address(store.put("in/bad", b"bad")), "bad"))
    assert (run(items).skipped, len(run(items).failed)) == (0, 1)
    before = store.get("out/t/two.txt")
    store.put("in/one", b"other")
    store.put("in/bad", b"good")
    report = run(items)
    assert (report.skipped, report.failed) == (1, ())
    assert (store.get("out/o/one.txt"), store.get("out/bad.txt"), store.get("out/t/two.txt")) == (
        b"OTHER",
        b"GOOD",
        before,
    )
    store.client.delete_object(Bucket=BUCKET, Key="out/t/two.json")
    assert run(items).skipped == 2
    assert run(items).skipped == 3
    with pytest.raises(JobError, match="holds the results of other settings"):
        run(items, settings={"level": "frame"})
    assert run(items, settings={"level": "frame"}, overwrite=True).skipped == 0


@pytest.mark.parametrize("faults", [[500, 503], ["cut"], ["slow"]], ids=["500", "cut", "slow"])
def test_an_upload_that_fails_for_a_moment_is_repeated(
    store: S3Store, items: list[VideoItem], faults: list[int | str]
) -> None:
    store.faults, store.on_writes = list(faults), "one.txt"
    assert not run(items).failed
    assert not store.faults
    assert store.get("out/o/one.txt") == b"ONE"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (403, "access was denied"),
        (404, "there is no such bucket"),
        ("cut", "uploading failed"),
        (500, "uploading failed"),
    ],
)
def test_an_upload_that_is_refused_is_the_failure_of_one_video(
    store: S3Store, items: list[VideoItem], monkeypatch: pytest.MonkeyPatch, fault: int | str, message: str
) -> None:
    without_patience(monkeypatch)
    store.faults, store.lasting, store.on_writes = [fault], True, "one.txt"
    report = run(items)
    (failed,) = report.failed
    assert message in failed.error
    assert failed.error.startswith(f"{OUT}/o/one.txt: ")
    assert "out/t/two.txt" in store.names()
    assert "out/o/one.txt" not in store.names()
    store.faults = []
    assert run(items).skipped == 1


def test_a_bucket_that_is_refused_or_missing_is_an_error_before_any_work(
    store: S3Store, items: list[VideoItem]
) -> None:
    with pytest.raises(StoreError, match="s3://nothing/out: there is no such bucket"):
        run(items, "s3://nothing/out")
    store.faults, store.lasting, store.on_writes = [403], True, LOCK_NAME
    with pytest.raises(StoreError, match=f"{OUT}: access was denied") as caught:
        run(items)
    assert "secret" not in str(caught.value)
    assert store.names() == {"in/one", "in/two"}


def test_uploads_of_a_killed_process_that_were_never_completed_are_given_up(
    store: S3Store, items: list[VideoItem]
) -> None:
    for key in ("out/o/one.txt", "out/other.txt"):
        store.client.create_multipart_upload(Bucket=BUCKET, Key=key)
    run(items)
    left = store.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert [one["Key"] for one in left] == ["out/other.txt"]


KILLED = """
import sys
sys.path[:0] = {path!r}
from inference.test_job_in_store import OUT, copy_slowly
from endofm.address import Address
from endofm.inference.job import run_job
from endofm.inference.video_paths import VideoItem

items = [VideoItem(Address(f"s3://archive/in/{{n}}"), str(n)) for n in range(9)]
run_job(items, OUT, copy_slowly, suffixes=(".txt",), settings={{}}, progress=False)
"""


def test_a_killed_job_is_resumed(store: S3Store, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [VideoItem(Address(store.put(f"in/{n}", f"text {n}".encode())), str(n)) for n in range(9)]
    code = KILLED.format(path=[str(Path(__file__).parents[1])])
    process = subprocess.Popen([sys.executable, "-c", code])
    while "out/2.txt" not in store.names() or not list(temporary.glob("endofm-output-*.lock")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert f"out/{LOCK_NAME}" in store.names()
    known = len(read_entries(OUT))
    assert known in (1, 2, 3)
    output_place._remove_abandoned.cache_clear()
    # Its lock is watched, and is not renewed.
    monkeypatch.setattr(store_lock, "STALE_SECONDS", 1.0)
    with pytest.warns(EndoFMWarning, match="there is the lock of process"):
        report = run_job(items, OUT, copy_upper, suffixes=(".txt",), settings={}, progress=False)
    assert (report.skipped, report.failed) == (known, ())
    assert {store.get(f"out/{n}.txt") for n in range(9)} == {f"TEXT {n}".encode() for n in range(9)}
    assert f"out/{LOCK_NAME}" not in store.names()
    assert not list(temporary.glob("endofm-output-*"))


def test_two_jobs_at_once_are_one_too_many(
    store: S3Store, items: list[VideoItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_lock, "STALE_SECONDS", 2.0)
    with place_of(OUT).exclusive() as write_manifest:
        write_manifest("{}")
        with (
            pytest.warns(EndoFMWarning),
            pytest.raises(JobError, match=f"{OUT}: another process is writing to this address"),
        ):
            run(items)
    assert store.names() == {"in/one", "in/two", "out/manifest.json"}


def test_a_job_ends_when_another_one_has_taken_its_place(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_lock, "STALE_SECONDS", 1.0)
    with place_of(OUT).exclusive() as write_manifest:
        write_manifest("{}")
        store.put(f"out/{LOCK_NAME}", b'{"host": "other", "process": 1, "renewed": "now", "id": "x"}')
        time.sleep(0.5)
        with pytest.raises(JobError, match="another process has taken over this address"):
            write_manifest('{"a": 1}')
    assert json.loads(store.get("out/manifest.json")) == {}
    # The lock of the other one stays.
    assert b"other" in store.get(f"out/{LOCK_NAME}")


def test_a_manifest_of_another_process_is_not_replaced(store: S3Store) -> None:
    with place_of(OUT).exclusive() as write_manifest:
        write_manifest("{}")
        store.put("out/manifest.json", b"[]")
        with pytest.raises(JobError, match=r"manifest\.json: another process has replaced this"):
            write_manifest('{"a": 1}')
    assert store.get("out/manifest.json") == b"[]"


def without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(pytest.importorskip("s3fs").S3FileSystem, "retries", 1)


def test_a_store_that_goes_down_ends_the_job_and_loses_nothing(
    store: S3Store, items: list[VideoItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_patience(monkeypatch)
    monkeypatch.setattr(store_lock, "STALE_SECONDS", 1.0)

    def copy_until_it_is_down(item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
        result = copy_upper(item, targets)
        store.down = item is items[1]
        return result

    with pytest.raises(StoreError, match=rf"{OUT}/manifest\.json: writing failed \(.*\); run this again"):
        run_job(items, OUT, copy_until_it_is_down, suffixes=(".txt",), settings={}, progress=False)
    store.down = False
    # What was put as a whole before is known; the lock that could not be removed is that of a killed process.
    with pytest.warns(EndoFMWarning, match="there is the lock"):
        report = run_job(items, OUT, copy_upper, suffixes=(".txt",), settings={}, progress=False)
    assert (report.skipped, report.failed) == (1, ())
    store.down = True
    with pytest.raises(JobError, match=r"s3://archive/in/one: its store does not answer; finished videos are kept"):
        run(items, str(tmp_path))


@pytest.mark.parametrize("name", ["manifest.json", LOCK_NAME])
def test_a_write_whose_answer_is_lost_is_not_that_of_another_process(
    store: S3Store, items: list[VideoItem], name: str
) -> None:
    # The client sends it again, and the store refuses to replace what is not there any more.
    store.faults, store.on_writes = ["lost"], name
    assert not run(items).failed
    assert not store.faults
    assert len(read_entries(OUT)) == 2
