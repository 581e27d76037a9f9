"""A Ray cluster of two nodes on this machine, and work that shows who has done it."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from endofm.errors import EndoFMWarning, VideoError
from endofm.pool import Division
from helpers.paths import REPOSITORY

_STORE_BYTES = 100_000_000


@contextmanager
def two_nodes() -> Iterator[Any]:
    """Run two nodes of one processor each, of which ``worker_nodes`` of the cluster has the one that is not its head.

    Changes the environment of all processes that are started afterwards.
    """
    pytest.importorskip("ray", reason="needs Ray: pip install 'endofm[ray]'")
    # Of the nodes, which give it to the actors: the package that is tested, and this one.
    paths = [str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")]
    # Ray gives way to everything else on a machine, and tests to nothing.
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    os.environ.update(quiet, PYTHONPATH=os.pathsep.join(paths))
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()


@dataclass(frozen=True)
class Chores:
    """Work on tasks that are strings: each time, a line in the task's file names the process and its node.

    Attributes:
        folder: Folder of the files.
        seconds: Time that a task takes.
        deadly: Tasks that kill their process, and how often.
    """

    folder: Path
    seconds: float = 0.0
    deadly: dict[str, int] = field(default_factory=dict)

    def __call__(self, task: str) -> str:
        import ray

        with (self.folder / task).open("a") as file:
            file.write(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}\n")
        if self.times(task) <= self.deadly.get(task, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "broken":
            raise VideoError("broken: cannot be decoded")
        warnings.warn("said by every worker", EndoFMWarning, stacklevel=1)
        time.sleep(self.seconds)
        return task.upper()

    def doers(self, task: str) -> list[tuple[int, str]]:
        """Process and node of each time that a task was begun."""
        path = self.folder / task
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def times(self, task: str) -> int:
        return len(self.doers(task))


@dataclass(frozen=True)
class PartedChores(Chores):
    """Chores of which those that begin with "long" are done in parts, one for each letter; "!" cannot be done so.

    Attributes:
        last_of_reader: Parts after which the process that has read them is killed.
    """

    last_of_reader: tuple[str, ...] = ()

    def divide(self, task: str, longest: float) -> Division | None:
        return Division(tuple(task), longest) if task.startswith("long") else None

    def read_part(self, task: str, part: str) -> Iterator[str]:
        self(f"{task}.{part}.read")
        yield part

    def do_part(self, task: str, part: str, read: Iterable[str] | None = None) -> str | None:
        self(f"{task}.{part}")
        assert read is None or list(read) == [part]
        if f"{task}.{part}" in self.last_of_reader:
            reader, _ = self.doers(f"{task}.{part}.read")[-1]
            os.kill(reader, signal.SIGKILL)
        return None if part == "!" else part.upper()

    def join(self, task: str, division: Division, results: Sequence[str]) -> str:
        return f"{''.join(results)} in parts of {division.common:g}"


def length_of(task: str) -> float:
    return float(len(task))
