"""What happens to a preparation that is killed, repeated, changed, or fed with damaged input."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from endofm.data.manifest import ClipRow, read_manifest
from endofm.data.prepare.catalogue import find_set
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.cutting import cut_source
from endofm.data.prepare.preparation import prepare
from endofm.data.prepare.sources import SourceItem
from endofm.errors import InputError, JobError
from endofm.pool import WorkerDied, run_tasks, usable_processors
from endofm.resume import exclusive
from endofm.video.writer import write_video
from helpers import made_sets
from helpers.made_sets import make_frames, make_video, numbers_in, picture

SMALL = ClipFormat(clip_frames=5, short_side=64)
FOLDER = find_set("folder")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "endofm", "data", "prepare", *map(str, arguments)]


def prepared(source: Path, out: Path, **options: object) -> list[ClipRow]:
    prepare(FOLDER, source, out, clip_format=SMALL, jobs=1, progress=False, **options)  # type: ignore[arg-type]
    return read_manifest(out / "manifest.csv")


def by_source(rows: list[ClipRow]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.source, []).append(row.path)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_killed_and_resumed_is_like_never_killed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(6):
        make_video(source / f"patient{number}" / "exam.mp4", number, 160)
    options = ("--jobs", "1", "--short-side", "64", "--clip-frames", "40")
    whole = subprocess.run(command("folder", source, tmp_path / "whole", *options), capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr

    out = tmp_path / "killed"
    process = subprocess.Popen(command("folder", source, out, *options), stderr=subprocess.DEVNULL)

    def records() -> list[Path]:
        return [path for path in (out / ".prepare").glob("*.json") if len(path.stem) == 20]

    wait_until(lambda: len(records()) >= 2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in workers))
    assert not (out / "manifest.csv").exists()
    done = {path: path.stat().st_mtime_ns for path in records()}
    assert 2 <= len(done) < 6

    resumed = subprocess.run(command("folder", source, out, *options), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert (out / "manifest.csv").read_bytes() == (tmp_path / "whole" / "manifest.csv").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in done} == done, "finished sources were prepared again"
    assert not [path for path in out.rglob("*") if path.name.startswith(".partial-")]
    assert numbers_in(out / "00004.mp4") == list(range(120, 160))


def test_interrupted_by_the_user(tmp_path: Path) -> None:
    for number in range(3):
        make_video(tmp_path / "source" / f"{number}.mp4", number, 400)
    process = subprocess.Popen(
        command("folder", tmp_path / "source", tmp_path / "out", "--jobs", "1"),
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, Ctrl-C is switched off, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: any((tmp_path / "out" / ".prepare").glob("*/*")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_damaged_sources_are_named_and_the_rest_is_prepared(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_video(source / "good.mp4", 1, 7)
    whole = make_video(tmp_path / "whole.mp4", 2, 30).read_bytes()
    (source / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (source / "text.avi").write_text("no video at all")
    (source / "empty.mkv").touch()
    (source / "unknown.rec").write_bytes(bytes(range(256)))
    make_frames(source / "frames", 3, range(12))
    (source / "frames" / "4.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    result = subprocess.run(
        command("folder", source, tmp_path / "out", "--short-side", "64", "--clip-frames", "5"),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    with (tmp_path / "out" / "problems.csv").open() as file:
        problems = {line["source"]: line["text"] for line in csv.DictReader(file)}
    assert problems.keys() == {"cut.mp4", "text.avi", "empty.mkv", "frames", "unknown.rec"}
    assert "left out: unknown.rec" in result.stderr
    assert "4.jpg" in problems["frames"]
    rows = read_manifest(tmp_path / "out" / "manifest.csv")
    assert by_source(rows) == {"frames": ["00001.mp4", "00002.mp4"], "good.mp4": ["00003.mp4"]}
    first = rows[0]
    assert numbers_in(tmp_path / "out" / first.path) == [0, 1, 2, 3, 5], "the gap is not filled"
    assert (first.num_frames, first.skipped_frames, first.source_last_frame) == (5, 1, 5)
    assert first.source_end_seconds == pytest.approx(6 / 30)


def test_repeating_does_nothing_and_new_sources_take_the_next_numbers(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    make_video(source / "b.mp4", 1, 12)
    make_video(source / "d.mp4", 2, 3)
    assert by_source(prepared(source, out)) == {"b.mp4": ["00001.mp4", "00002.mp4"], "d.mp4": ["00003.mp4"]}
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    prepared(source, out)
    assert {path: path.stat().st_mtime_ns for path in times} == times

    make_video(source / "a.mp4", 3, 4)
    names = by_source(prepared(source, out))
    assert names == {"b.mp4": ["00001.mp4", "00002.mp4"], "d.mp4": ["00003.mp4"], "a.mp4": ["00004.mp4"]}
    assert {path: path.stat().st_mtime_ns for path in times} == times

    make_video(source / "b.mp4", 4, 3)  # Another recording under the old name, shorter.
    names = by_source(prepared(source, out))
    assert names == {"d.mp4": ["00003.mp4"], "a.mp4": ["00004.mp4"], "b.mp4": ["00005.mp4"]}
    assert sorted(path.name for path in out.glob("*.mp4")) == ["00003.mp4", "00004.mp4", "00005.mp4"]

    (out / "00003.mp4").unlink()
    assert by_source(prepared(source, out)) == names
    assert (out / "00003.mp4").is_file(), "what was lost is made again"

    shutil.rmtree(source / "a.mp4", ignore_errors=True)
    (source / "a.mp4").unlink()
    assert by_source(prepared(source, out)) == names, "what is prepared stays when its source is removed"


def test_limit_then_all(tmp_path: Path) -> None:
    for number in range(3):
        make_video(tmp_path / "source" / f"{number}.mp4", number, 3)
    assert len(prepared(tmp_path / "source", tmp_path / "out", limit=1)) == 1
    assert len(prepared(tmp_path / "source", tmp_path / "out")) == 3


def test_a_folder_is_for_one_set_and_format(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    make_video(source / "a.mp4", 1, 3)
    prepared(source, out)
    with pytest.raises(JobError, match=r"clip_format\.clip_frames was 5 and is now 150.*--overwrite"):
        prepare(FOLDER, source, out, clip_format=ClipFormat(), progress=False)
    with exclusive(out), pytest.raises(JobError, match="another process"):
        prepared(source, out)
    (out / "notes.txt").write_text("mine")
    (out / "other.mp4").write_bytes(b"mine")
    report = prepare(FOLDER, source, out, clip_format=ClipFormat(short_side=32), overwrite=True, progress=False)
    assert report.clips == 1
    assert read_manifest(out / "manifest.csv")[0].height == 32
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "other.mp4").read_bytes() == b"mine"
    with pytest.raises(InputError, match="inside the source"):
        prepare(FOLDER, source, source / "out", progress=False)
    (tmp_path / "foreign").mkdir()
    make_video(tmp_path / "foreign" / "00001.mp4", 1, 3)
    with pytest.raises(JobError, match="another origin"):
        prepare(FOLDER, source, tmp_path / "foreign", progress=False)


def test_a_name_that_is_not_utf8_and_an_unforeseen_error_cost_no_other_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    make_video(source / "good.mp4", 1, 7)
    make_video(source / "x.mp4", 2, 7).rename(source / os.fsdecode(b"\xe9.mp4"))
    assert len(prepared(source, tmp_path / "out")) == 2
    assert "\\udce9.mp4" in (tmp_path / "out" / "manifest.csv").read_text(encoding="utf-8")

    def fail(path: Path) -> None:
        raise TypeError(f"a bug at {path.name}")

    monkeypatch.setattr("endofm.data.prepare.cutting.open_video", fail)
    record = cut_source(source, SourceItem(source="good.mp4", video="good"), tmp_path, ClipFormat())
    assert record.clips == ()
    assert record.problems == ("unexpected TypeError: a bug at good.mp4",)


def test_a_run_that_prepared_nothing_leaves_the_folder_to_other_settings(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "video.mp4").write_bytes(b"no video at all")
    for short_side, expected in ((64, 0), (32, 0), (64, 1)):
        if expected:
            make_video(source / "video.mp4", 1, 7)
        report = prepare(
            find_set("folder"), source, out, clip_format=ClipFormat(short_side=short_side), jobs=1, progress=False
        )
        assert report.clips == expected
    with pytest.raises(JobError, match="short_side was 64"):
        prepare(find_set("folder"), source, out, clip_format=ClipFormat(short_side=32), jobs=1, progress=False)


def test_images_of_another_size_are_named_and_left_out(tmp_path: Path) -> None:
    make_frames(tmp_path / "source" / "frames", 1, range(4))
    make_frames(tmp_path / "source" / "frames", 1, [2], width=192, height=144)
    report = prepare(FOLDER, tmp_path / "source", tmp_path / "out", clip_format=SMALL, jobs=1, progress=False)
    assert "2.jpg" in report.problems[0][1]
    assert numbers_in(tmp_path / "out" / "00001.mp4") == [0, 1, 3]


def test_an_unwritable_folder_is_an_error_and_not_a_damaged_source(tmp_path: Path) -> None:
    make_video(tmp_path / "source" / "a.mp4", 1, 30)
    out = tmp_path / "out"
    out.mkdir()
    (out / ".prepare").mkdir()
    (out / ".prepare").chmod(0o500)
    if os.geteuid() == 0:
        (out / ".prepare").rmdir()
        (out / ".prepare").write_text("a file where the state belongs")
    with pytest.raises(InputError, match=r"\.prepare.*cannot be written"):
        prepared(tmp_path / "source", out)


def _square_or_die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_crash_of_one_worker_costs_one_task() -> None:
    results = dict(run_tasks(_square_or_die, range(6), 2))
    assert isinstance(results.pop(3), WorkerDied)
    assert results == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}


def test_processors_are_counted_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_processors() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_processors() == 6


def test_dry_run_lists_and_writes_nothing(tmp_path: Path) -> None:
    made_sets.colonoscopic(tmp_path / "source")
    result = subprocess.run(
        command("colonoscopic", tmp_path / "source", tmp_path / "out", "--dry-run"), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0].split("\t") == [
        "adenoma/adenoma_01/videos/NBI.mp4",
        "adenoma_01/NBI",
        "adenoma_01",
        "adenoma",
        "",
    ]
    assert "trailer.mp4" in result.stderr
    assert not (tmp_path / "out").exists()


def test_long_sources_are_streamed(tmp_path: Path) -> None:
    """Memory does not grow with the length: a long source takes hardly more than a short one."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from endofm.data.prepare.cutting import cut_source\n"
        "from endofm.data.prepare.clip_format import ClipFormat\n"
        "from endofm.data.prepare.sources import SourceItem\n"
        "root, name, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])\n"
        "record = cut_source(root, SourceItem(source=name, video=name), out, ClipFormat(short_side=64))\n"
        "print(sum(row.num_frames for row in record.clips), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    still = np.ascontiguousarray(picture(1, 0))
    used = {}
    for name, count in (("short.mp4", 320), ("long.mp4", 3200)):
        write_video(tmp_path / name, (still for _ in range(count)), 30)
        made = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), name, str(tmp_path / f"out-{name}")],
            capture_output=True,
            text=True,
            check=True,
        )
        frames, used[name] = map(int, made.stdout.split())
        assert frames == count
    assert used["long.mp4"] < used["short.mp4"] + 20_000, f"kilobytes: {used}"
