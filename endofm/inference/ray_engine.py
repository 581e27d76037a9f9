"""The Ray engine: tasks of a job on the machines of a cluster, whatever of it is killed.

One actor is one process that loads its models once. The process that started the job hands out tasks, the longest
first, and holds one task per actor and the numbers of the others, so that its memory does not grow with the results.
A task whose actor dies is given to another one, twice at most; what always kills its process is reported like the death
of a local one (:class:`~endofm.pool.WorkerDied`). Ray's own retries are off: they would also repeat what must not be.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from endofm.errors import JobError, cause, quoted, require_extra
from endofm.files import PARTIAL_PREFIX, writing
from endofm.inference.job_plan import DIVIDED_FROM, PART_SECONDS
from endofm.inference.ray_crew import Crew, CrewTask, Post
from endofm.pool import DivisibleWork, Division, WorkerDied

T = TypeVar("T")
R = TypeVar("R")

_RETRIES = 2
_WEIGHED_AT_ONCE = 32
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Actors of a Ray cluster; an :class:`~endofm.pool.Engine`.

    Attributes:
        jobs: Number of actors; None for as many as the cluster has room for, also when nodes join it.
        threads: CPUs of each.
        gpus: GPUs of each; a fraction lets actors share one.
        readers: Actors that read and decode parts for each actor, which only encodes. They need a
            :class:`~endofm.pool.DivisibleWork`; other work has none.
        address: ``"auto"`` for the cluster of this machine, or ``HOST:PORT``. None takes the running cluster if there
            is one, and otherwise starts Ray on this machine for the time of the job.
        notify: Called with lines for the user.
        longest: Longest part of a task whose work is a :class:`~endofm.pool.DivisibleWork`, in the unit of its weight:
            ten minutes of video.
    """

    jobs: int | None = None
    threads: int = 1
    gpus: float = 0.0
    readers: int = 0
    address: str | None = None
    notify: Callable[[str], None] = print
    longest: float = PART_SECONDS

    def run(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        folders: Sequence[Path] = (),
        weigh: Callable[[T], float] | None = None,
    ) -> Generator[tuple[T, R | WorkerDied], None, None]:
        """Run the tasks; see :class:`~endofm.pool.Engine`.

        Raises:
            MissingExtraError: If Ray is not installed.
            JobError: If no cluster answers, or one of its machines cannot do the work.
        """
        ray = require_extra("ray", "ray", "Working on a Ray cluster (--engine ray)")
        if not tasks:
            return
        with self._connection(ray), _marks(folders) as marks:
            divisible = isinstance(work, DivisibleWork)
            readers = self.readers if divisible else 0
            # With readers every task is one of parts, which they read, if only of one.
            divided_from = (0.0 if readers else DIVIDED_FROM * self.longest) if divisible else math.inf
            crew = Crew(self._post(readers), ray, ray.put(work), marks)
            try:
                for index, outcome in _Run(crew, tasks, weigh, divided_from, self.longest).outcomes():
                    yield tasks[index], outcome
            finally:
                crew.dismiss()

    def room(self) -> int:
        """Return the number of actors that the cluster has room for; Ray is started if there is none.

        Raises:
            MissingExtraError: If Ray is not installed.
            JobError: If no cluster answers.
        """
        ray = require_extra("ray", "ray", "Working on a Ray cluster (--engine ray)")
        with self._connection(ray):
            return self.jobs or Crew(self._post(self.readers), ray, None, []).room()

    def _post(self, readers: int) -> Post:
        return Post(jobs=self.jobs, threads=self.threads, gpus=self.gpus, readers=readers, notify=self.notify)

    @contextmanager
    def _connection(self, ray: Any) -> Iterator[None]:
        if ray.is_initialized():
            yield
            return
        # Ray reports to its makers which libraries a cluster uses; that concerns no one but the archive's owner.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            _require_answer(self.address)
            context = ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            where = "Ray cannot be started" if self.address is None else f"--address {quoted(self.address)}: no cluster"
            raise JobError(
                f"{where} ({cause(error)}). Start one with `ray start --head`; without --address, the cluster of this "
                "machine is used, or Ray is started for this job"
            ) from error
        # Otherwise the last lines of a dying node's log go to the standard output of this process, with its results.
        printing = vars(ray._private.worker)
        printer = printing.get("print_to_stdstream")
        if printer is not None:
            printing["print_to_stdstream"] = lambda *_, **__: None
        try:
            if context.dashboard_url:
                self.notify(f"Ray dashboard: http://{context.dashboard_url}")
            yield
        finally:
            ray.shutdown()
            printing["print_to_stdstream"] = printer


def _require_answer(address: str | None) -> None:
    """Raise OSError if nothing listens at ``HOST:PORT``, where Ray would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


@contextmanager
def _marks(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a new file in each folder, by which other machines recognise it."""
    # The name of a half-written file: those of a killed process are removed by the next one.
    marks = [folder.absolute() / f"{PARTIAL_PREFIX}{uuid4().hex}" for folder in folders]
    for mark in marks:
        with writing(mark):
            mark.touch()
    try:
        yield marks
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)


@dataclass
class _Divided:
    """A task in parts, and references to the results of those that are done, by number."""

    division: Division
    results: dict[int, Any]


class _Run:
    """The tasks of one job on their way through a crew."""

    def __init__(
        self,
        crew: Crew,
        tasks: Sequence[Any],
        weigh: Callable[[Any], float] | None,
        divided_from: float,
        longest: float,
    ) -> None:
        self._crew, self._tasks = crew, tasks
        self._divided_from, self._longest = divided_from, longest
        self._weigh = None if weigh is None else crew.ray.put(weigh)
        self._weights = [0.0] * len(tasks)
        # What has begun comes before what has not, so that few tasks are in parts at a time.
        self._begun: deque[CrewTask] = deque()
        self._divided: dict[int, _Divided] = {}

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """Yield the number of each task and its result."""
        everything = range(len(self._tasks))
        if self._weigh is not None:
            for unit, weights, _ in self._work_through(_chunks(everything, "weigh")):
                # What cannot even be looked at is left to the end.
                known = [0.0] * len(unit.indices) if isinstance(weights, WorkerDied) else weights
                for index, weight in zip(unit.indices, known, strict=True):
                    self._weights[index] = weight
        longest_first = sorted(everything, key=lambda index: -self._weights[index])
        for unit, result, part in self._work_through(CrewTask(self._first(index), (index,)) for index in longest_first):
            (index,) = unit.indices
            if unit.method in ("do_part", "join") and index not in self._divided:
                # Another part of the task has failed meanwhile.
                continue
            if isinstance(result, WorkerDied):
                if unit.deaths < _RETRIES:
                    self._begun.append(unit._replace(deaths=unit.deaths + 1))
                    continue
                self._drop_parts(index)
                yield index, result
            elif unit.method == "do":
                yield index, result
            elif unit.method == "divide" and result is not None:
                self._divided[index] = _Divided(result, {})
                self._begun.extend(CrewTask("do_part", (index,), part=number) for number in range(len(result.parts)))
            elif unit.method == "do_part" and result is True:
                divided = self._divided[index]
                divided.results[unit.part] = part
                if len(divided.results) == len(divided.division.parts):
                    self._begun.append(CrewTask("join", (index,)))
            elif unit.method == "join" and result is not None:
                del self._divided[index]
                yield index, result
            else:
                self._drop_parts(index)
                self._begun.append(CrewTask("do", (index,)))

    def _first(self, index: int) -> str:
        return "divide" if self._weights[index] >= self._divided_from else "do"

    def _drop_parts(self, index: int) -> None:
        self._divided.pop(index, None)
        self._begun = deque(unit for unit in self._begun if unit.indices != (index,))

    def _work_through(self, units: Iterator[CrewTask]) -> Iterator[tuple[CrewTask, Any, Any]]:
        crew, open_units = self._crew, 0
        following = next(units, None)
        while following or self._begun or open_units:
            crew.hire(open_units + len(self._begun) + (len(self._tasks) if following else 0))
            while (unit := self._begun[0] if self._begun else following) and crew.has_room(unit):
                if self._begun:
                    self._begun.popleft()
                else:
                    following = next(units, None)
                crew.give(unit, *self._arguments(unit))
                open_units += 1
            for finished in crew.wait():
                open_units -= 1
                yield finished

    def _arguments(self, unit: CrewTask) -> tuple[Any, ...]:
        if unit.method == "weigh":
            return self._weigh, [self._tasks[index] for index in unit.indices]
        (index,) = unit.indices
        task = self._tasks[index]
        if unit.method == "divide":
            return task, self._longest
        if unit.method == "do":
            return (task,)
        division, results = self._divided[index].division, self._divided[index].results
        if unit.method == "do_part":
            return task, division.parts[unit.part]
        return task, division._replace(parts=()), *(results[number] for number in range(len(division.parts)))


def _chunks(indices: Sequence[int], method: str) -> Iterator[CrewTask]:
    remaining = iter(indices)
    while chunk := tuple(islice(remaining, _WEIGHED_AT_ONCE)):
        yield CrewTask(method, chunk)
