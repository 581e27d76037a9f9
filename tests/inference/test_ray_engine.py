"""The Ray engine on a real cluster of two nodes, of which processes and nodes are killed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endofm.errors import EndoFMWarning, InputError, JobError, VideoError
from endofm.files import PARTIAL_PREFIX
from endofm.inference.ray_engine import RayEngine
from endofm.inference.ray_worker import RayWorker
from endofm.pool import WorkerDied
from helpers.ray_cluster import Chores, PartedChores, length_of, two_nodes

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of Windows"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:said by every worker"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


def run(
    cluster: Any, work: Chores, tasks: list[str], jobs: int | None = None, **options: Any
) -> dict[str, str | WorkerDied]:
    engine = RayEngine(address=cluster.address, jobs=jobs, notify=lambda line: None)
    return dict(engine.run(work, tasks, folders=[work.folder], **options))


def test_tasks_are_shared_and_killed_ones_are_tried_again(cluster: Any, tmp_path: Path) -> None:
    tasks = ["a", "bb", "ccc", "once", "always"]
    work = Chores(tmp_path, seconds=0.3, deadly={"once": 1, "always": 99})
    with pytest.warns(EndoFMWarning, match="said by every worker") as told:
        done = run(cluster, work, tasks, weigh=length_of)
    assert isinstance(done.pop("always"), WorkerDied)
    assert done == {task: task.upper() for task in tasks if task != "always"}
    assert {task: work.times(task) for task in tasks} == {"a": 1, "bb": 1, "ccc": 1, "once": 2, "always": 3}
    assert len({node for task in tasks for _, node in work.doers(task)}) == 2
    assert len([one for one in told if one.category is EndoFMWarning]) == 1
    # The longest first: the shortest of them are not among the first two.
    started = sorted(tasks, key=lambda task: (tmp_path / task).stat().st_mtime)
    assert not {"a", "bb"} & set(started[:1])
    assert not list(tmp_path.glob(f"{PARTIAL_PREFIX}*"))


def test_a_killed_node_loses_nothing(cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tasks = [f"task-{number}" for number in range(6)]
    work = Chores(tmp_path, seconds=1.0)
    (node,) = list(cluster.worker_nodes)

    def kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if any(where == node.node_id for task in tasks for _, where in work.doers(task)):
                break
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        done = run(cluster, work, tasks)
    finally:
        killer.join()
        cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    assert done == {task: task.upper() for task in tasks}
    assert sum(work.times(task) for task in tasks) == len(tasks) + 1
    assert "raylet" not in capfd.readouterr().out


def test_long_tasks_are_done_in_parts_or_else_as_a_whole(cluster: Any, tmp_path: Path) -> None:
    work = PartedChores(tmp_path, deadly={"longer.g": 1})
    engine = RayEngine(address=cluster.address, notify=lambda line: None, longest=2.0)
    tasks = ["lo", "longer", "long!", "short"]
    done = dict(engine.run(work, tasks, folders=[tmp_path], weigh=length_of))
    assert done == {"lo": "LO", "longer": "LONGER in parts of 2", "long!": "LONG!", "short": "SHORT"}
    times = {letter: work.times(f"longer.{letter}") for letter in "longer"}
    assert times == {"l": 1, "o": 1, "n": 1, "g": 2, "e": 1, "r": 1}
    assert (work.times("long!"), work.times("longer"), work.times("lo")) == (1, 0, 1)


def test_readers_feed_an_actor_and_are_replaced(cluster: Any, tmp_path: Path) -> None:
    work = PartedChores(tmp_path, deadly={"long1.1.read": 1})
    engine = RayEngine(address=cluster.address, notify=lambda line: None, jobs=1, readers=1)
    tasks = ["long1", "long!", "lon"]
    assert dict(engine.run(work, tasks, folders=[tmp_path], weigh=length_of)) == {
        "long1": "LONG1 in parts of 600",
        "long!": "LONG!",
        "lon": "LON",
    }
    assert (work.times("long1.1.read"), work.times("long1.1"), work.times("long1.l.read")) == (2, 2, 1)
    readers = {pid for letter in "long" for pid, _ in work.doers(f"long1.{letter}.read")}
    assert not readers & {pid for letter in "long" for pid, _ in work.doers(f"long1.{letter}")}


def test_no_part_is_blamed_for_a_reader_that_died_before_it(cluster: Any, tmp_path: Path) -> None:
    work = PartedChores(tmp_path, last_of_reader=("long1.l", "long1.o", "long1.n"))
    engine = RayEngine(address=cluster.address, notify=lambda line: None, jobs=1, readers=1)
    assert dict(engine.run(work, ["long1"], folders=[tmp_path])) == {"long1": "LONG1 in parts of 600"}
    assert [work.times(f"long1.{letter}") for letter in "long1"] == [1] * 5
    assert len({work.doers(f"long1.{letter}.read")[0] for letter in "long1"}) == 4


def test_an_error_of_the_work_stops_the_job(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="^broken: cannot be decoded$"):
        run(cluster, Chores(tmp_path), ["broken", "a"], jobs=1)
    assert not list(tmp_path.glob(f"{PARTIAL_PREFIX}*"))


def test_nodes_that_cannot_do_the_work_say_so(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="does not see this folder"):
        RayWorker().start(print, _version(), tmp_path, [tmp_path / "elsewhere" / "mark"], 0)
    with pytest.raises(InputError, match="install the same release"):
        RayWorker().start(print, "0.0.0", tmp_path, [], 0)


def test_an_address_without_a_cluster_is_one_sentence() -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'endofm[ray]'")
    with pytest.raises(JobError, match=r"--address '127.0.0.1:1': no cluster.*ray start --head"):
        list(RayEngine(address="127.0.0.1:1").run(str.upper, ["a"]))


def _version() -> str:
    from endofm import __version__

    return __version__
