"""The Ray engine: tasks of a job on the machines of a cluster, whatever of it is killed.

One actor is one process that loads its models once. The process that started the job hands out tasks, the longest
first, and holds one task per actor and the numbers of the others, so that its memory does not grow with the results.
A task whose actor dies is given to another one, twice at most; what always kills its process is reported like the death
of a local one (:class:`~endofm.pool.WorkerDied`). Ray's own retries are off: they would also repeat what must not be.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from endofm._version import __version__
from endofm.errors import JobError, cause, quoted, require_extra
from endofm.files import PARTIAL_PREFIX, writing
from endofm.inference.ray_worker import Message, RayWorker
from endofm.pool import WorkerDied

T = TypeVar("T")
R = TypeVar("R")

_RETRIES = 2
_MOST_FAILED_STARTS = 5
_WEIGHED_AT_ONCE = 32
_POLL_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_WAIT_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Actors of a Ray cluster; an :class:`~endofm.pool.Engine`.

    Attributes:
        jobs: Number of actors; None for as many as the cluster has room for, also when nodes join it.
        threads: CPUs of each.
        gpus: GPUs of each; a fraction lets actors share one.
        address: ``"auto"`` for the cluster of this machine, or ``HOST:PORT``. None takes the running cluster if there
            is one, and otherwise starts Ray on this machine for the time of the job.
        notify: Called with lines for the user.
    """

    jobs: int | None = None
    threads: int = 1
    gpus: float = 0.0
    address: str | None = None
    notify: Callable[[str], None] = print

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
            crew = _Crew(self, ray, ray.put(work), marks)
            try:
                for index, outcome in _Run(crew, tasks, weigh).outcomes():
                    yield tasks[index], outcome
            finally:
                crew.dismiss()

    @contextmanager
    def _connection(self, ray: Any) -> Iterator[None]:
        if ray.is_initialized():
            yield
            return
        # Ray reports to its makers which libraries a cluster uses; an archive of patients should reach nobody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            _require_answer(self.address)
            context = ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            where = "Ray cannot be started" if self.address is None else f"--address {quoted(self.address)}: no cluster"
            raise JobError(
                f"{where} ({cause(error)}). Start one with `ray start --head`; without --address, the cluster of this "
                "machine is used, or Ray started for this job"
            ) from error
        try:
            if context.dashboard_url:
                self.notify(f"Ray dashboard: http://{context.dashboard_url}")
            yield
        finally:
            ray.shutdown()


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


class _Unit(NamedTuple):
    """What an actor does at a time.

    Attributes:
        method: Method of :class:`~endofm.inference.ray_worker.RayWorker`.
        indices: Numbers of the tasks.
        deaths: How many actors have died of it.
    """

    method: str
    indices: tuple[int, ...]
    deaths: int = 0


class _Crew:
    """The actors: hired, replaced when they die, dismissed."""

    def __init__(self, engine: RayEngine, ray: Any, work: Any, marks: list[Path]) -> None:
        self.ray = ray
        self._engine, self._work, self._marks = engine, work, marks
        self._actor = ray.remote(
            num_cpus=engine.threads, num_gpus=engine.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )(RayWorker)
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, _Unit]] = {}
        self.idle: list[Any] = []
        self._failed_starts = 0
        self._room, self._room_known = 0, -_POLL_SECONDS
        self._quiet_since = time.monotonic()
        self._heard: set[Message] = set()

    def hire(self, wanted: int) -> None:
        """Start actors, until there are as many as wanted or as there is room for."""
        target = min(self._engine.jobs or self._free_room(), wanted)
        for _ in range(target - len(self._starting) - len(self._busy) - len(self.idle)):
            actor = self._actor.remote()
            start = actor.start.remote(self._work, __version__, Path.cwd(), self._marks)
            self._starting[start] = actor

    def give(self, unit: _Unit, *arguments: Any) -> None:
        """Let an idle actor do something."""
        actor = self.idle.pop()
        self._busy[getattr(actor, unit.method).remote(*arguments)] = actor, unit

    def wait(self) -> Iterator[tuple[_Unit, Any]]:
        """Yield what was finished, with its result; with :class:`WorkerDied` if the actor has died.

        Raises:
            Exception: Any of the work itself.
            JobError: If the cluster cannot do the work.
        """
        pending = [*self._starting, *self._busy]
        if not pending:
            self._require_room()
            time.sleep(_POLL_SECONDS)
            return
        ready, _ = self.ray.wait(pending, num_returns=1, timeout=_POLL_SECONDS)
        for ref in ready:
            if ref in self._starting:
                self._take_in(ref, self._starting.pop(ref))
                continue
            actor, unit = self._busy.pop(ref)
            yield unit, self._result(ref, actor)
        if ready or self._busy:
            self._quiet_since = time.monotonic()
        self._require_room()

    def dismiss(self) -> None:
        """End all actors."""
        for actor in [*self._starting.values(), *(actor for actor, _ in self._busy.values()), *self.idle]:
            self.ray.kill(actor)

    def _result(self, ref: Any, actor: Any) -> Any:
        errors = self.ray.exceptions
        try:
            result = self.ray.get(ref)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
            # Of itself, with its machine, or behind a broken connection: then it must not go on writing.
            self.ray.kill(actor)
            return WorkerDied()
        except errors.RayError as error:
            raised = getattr(error, "cause", None)
            if isinstance(raised, Exception) and not isinstance(raised, ImportError):
                raise raised from None
            raise JobError(
                f"the work cannot be done on a node of the cluster ({cause(raised or error)}); install the same "
                "packages on every node"
            ) from error
        self.idle.append(actor)
        return result

    def _take_in(self, start: Any, actor: Any) -> None:
        self._failed_starts = self._failed_starts + 1 if isinstance(self._result(start, actor), WorkerDied) else 0
        if self._failed_starts >= _MOST_FAILED_STARTS:
            raise JobError(
                f"{self._failed_starts} processes of the cluster died one after the other when they started; "
                "`ray status` and the logs of Ray show why"
            )

    def _free_room(self) -> int:
        """Return how many actors fit on the nodes that are alive."""
        now = time.monotonic()
        if now - self._room_known >= _POLL_SECONDS:
            nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            self._room, self._room_known = sum(self._fitting(node) for node in nodes), now
        return self._room

    def _fitting(self, resources: dict[str, float]) -> int:
        count = resources.get("CPU", 0) / self._engine.threads
        if self._engine.gpus:
            count = min(count, resources.get("GPU", 0) / self._engine.gpus)
        return int(count)

    def _require_room(self) -> None:
        if time.monotonic() - self._quiet_since < _WAIT_SECONDS or self._busy or self.idle:
            return
        self._quiet_since = time.monotonic()
        gpus = f" and {self._engine.gpus:g} GPUs" if self._engine.gpus else ""
        self._engine.notify(
            f"waiting for the cluster: no node has {self._engine.threads} free CPUs{gpus} for a process; "
            "`ray status` shows what is in use"
        )

    def hear(self, messages: Sequence[Message]) -> None:
        """Give the warnings of the actors, each once."""
        for message in messages:
            if message in self._heard:
                continue
            self._heard.add(message)
            category, text = message
            if category is None:
                _log.warning("%s", text)
            else:
                warnings.warn(text, category, stacklevel=2)


class _Run:
    """The tasks of one job on their way through a crew."""

    def __init__(self, crew: _Crew, tasks: Sequence[Any], weigh: Callable[[Any], float] | None) -> None:
        self._crew, self._tasks = crew, tasks
        self._weigh = None if weigh is None else crew.ray.put(weigh)
        self._weights = [0.0] * len(tasks)
        self._again: deque[_Unit] = deque()

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """Yield the number of each task and its result."""
        everything = range(len(self._tasks))
        if self._weigh is not None:
            for unit, weights in self._work_through(_chunks(everything, "weigh")):
                # What cannot even be looked at is left to the end.
                known = [0.0] * len(unit.indices) if isinstance(weights, WorkerDied) else weights
                for index, weight in zip(unit.indices, known, strict=True):
                    self._weights[index] = weight
        longest_first = sorted(everything, key=lambda index: -self._weights[index])
        for unit, outcome in self._work_through(_Unit("do", (index,)) for index in longest_first):
            if isinstance(outcome, WorkerDied):
                if unit.deaths < _RETRIES:
                    self._again.append(unit._replace(deaths=unit.deaths + 1))
                    continue
                yield unit.indices[0], outcome
                continue
            result, messages = outcome
            self._crew.hear(messages)
            yield unit.indices[0], result

    def _work_through(self, units: Iterator[_Unit]) -> Iterator[tuple[_Unit, Any]]:
        crew, open_units = self._crew, 0
        following = next(units, None)
        while following or self._again or open_units:
            crew.hire(open_units + len(self._again) + (len(self._tasks) if following else 0))
            while crew.idle and (following or self._again):
                if self._again:
                    unit = self._again.popleft()
                else:
                    assert following is not None
                    unit, following = following, next(units, None)
                crew.give(unit, *self._arguments(unit))
                open_units += 1
            for unit, result in crew.wait():
                open_units -= 1
                yield unit, result

    def _arguments(self, unit: _Unit) -> tuple[Any, ...]:
        if unit.method == "weigh":
            return self._weigh, [self._tasks[index] for index in unit.indices]
        return (self._tasks[unit.indices[0]],)


def _chunks(indices: Sequence[int], method: str) -> Iterator[_Unit]:
    remaining = iter(indices)
    while chunk := tuple(islice(remaining, _WEIGHED_AT_ONCE)):
        yield _Unit(method, chunk)
