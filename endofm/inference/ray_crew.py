"""The actors of a job on a Ray cluster."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from endofm._version import __version__
from endofm.errors import JobError, cause
from endofm.inference.ray_worker import MOST_FAILED_STARTS, Message, RayWorker
from endofm.pool import WorkerDied

_POLL_SECONDS = 5.0
_WAIT_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Post:
    """The post that the actors of a crew are hired for.

    Attributes:
        jobs: Number of actors; None for as many as there is room for.
        threads: CPUs of each.
        gpus: GPUs of each.
        readers: Actors that read for each.
        notify: Called with lines for the user.
    """

    jobs: int | None
    threads: int
    gpus: float
    readers: int
    notify: Callable[[str], None]


class CrewTask(NamedTuple):
    """A single piece of work for an actor.

    Attributes:
        method: Method of :class:`~endofm.inference.ray_worker.RayWorker`.
        indices: Numbers of the tasks.
        deaths: How many actors have died of it.
        part: Number of the part.
    """

    method: str
    indices: tuple[int, ...]
    deaths: int = 0
    part: int = 0


class Crew:
    """The actors: hired, replaced when they die, dismissed."""

    def __init__(self, post: Post, ray: Any, work: Any, marks: list[Path]) -> None:
        self.ray = ray
        self._post, self._work, self._marks = post, work, marks
        self._slots = max(1, post.readers)
        self._actor = ray.remote(
            num_cpus=post.threads,
            num_gpus=post.gpus,
            max_restarts=0,
            max_concurrency=self._slots,
            scheduling_strategy="SPREAD",
        )(RayWorker)
        self._alive: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, CrewTask, Any]] = {}
        # An actor is in it as often as it can do something more.
        self._idle: list[Any] = []
        self._failed_starts = 0
        self._room, self._room_known = 0, -_POLL_SECONDS
        self._quiet_since = time.monotonic()
        self._heard: set[Message] = set()

    def hire(self, wanted: int) -> None:
        """Start actors, until there are as many as wanted or as there is room for."""
        target = min(self._post.jobs or self.room(), wanted)
        for _ in range(target - len(self._starting) - len(self._alive)):
            actor = self._actor.remote()
            start = actor.start.remote(self._work, __version__, Path.cwd(), self._marks, self._post.readers)
            self._starting[start] = actor

    def has_room(self, unit: CrewTask) -> bool:
        """Return whether an actor can do something now."""
        return self._free(unit) is not None

    def _free(self, unit: CrewTask) -> Any:
        needed = self._needed(unit)
        return next((actor for actor in self._idle if self._idle.count(actor) >= needed), None)

    def _needed(self, unit: CrewTask) -> int:
        # What may have killed an actor is done alone, so that nothing else is blamed if it does so again.
        return self._slots if unit.deaths else 1

    def give(self, unit: CrewTask, *arguments: Any) -> None:
        """Let an actor do something for which :meth:`has_room`."""
        actor = self._free(unit)
        for _ in range(self._needed(unit)):
            self._idle.remove(actor)
        if unit.method == "do_part":
            # The result stays where it was made until the parts are joined; this process is told that it is there.
            done, result = actor.do_part.options(num_returns=2).remote(*arguments)
        else:
            done, result = getattr(actor, unit.method).remote(*arguments), None
        self._busy[done] = actor, unit, result

    def wait(self) -> Iterator[tuple[CrewTask, Any, Any]]:
        """Yield what was finished, with its result and, of a part, a reference to that.

        The result is :class:`WorkerDied` if the actor has died, and None if results of parts were lost with a node.

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
            actor, unit, part = self._busy.pop(ref)
            result = self._result(ref, actor)
            if actor in self._alive:
                self._idle.extend([actor] * self._needed(unit))
            if isinstance(result, tuple):
                result, messages = result
                self._hear(messages)
            yield unit, result, part
        if ready or self._busy:
            self._quiet_since = time.monotonic()
        self._require_room()

    def dismiss(self) -> None:
        """End all actors."""
        for actor in [*self._starting.values(), *self._alive]:
            self.ray.kill(actor)

    def _result(self, ref: Any, actor: Any) -> Any:
        errors = self.ray.exceptions
        try:
            result = self.ray.get(ref)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
            # Of itself, with its machine, or behind a broken connection: then it must not write anything more.
            self.ray.kill(actor)
            self._alive = [one for one in self._alive if one is not actor]
            self._idle = [one for one in self._idle if one is not actor]
            return WorkerDied()
        except errors.RayError as error:
            raised = getattr(error, "cause", None)
            if isinstance(error, errors.ObjectLostError) or isinstance(raised, errors.ObjectLostError):
                return None
            if isinstance(raised, Exception) and not isinstance(raised, ImportError):
                raise raised from None
            raise JobError(
                f"the work cannot be done on a node of the cluster ({cause(raised or error)}); install the same "
                "packages on every node"
            ) from error
        return result

    def _take_in(self, start: Any, actor: Any) -> None:
        if isinstance(self._result(start, actor), WorkerDied):
            self._failed_starts += 1
        else:
            self._failed_starts = 0
            self._alive.append(actor)
            self._idle.extend([actor] * self._slots)
        if self._failed_starts >= MOST_FAILED_STARTS:
            raise JobError(
                f"{self._failed_starts} processes of the cluster died one after the other when they started; "
                "`ray status` and the logs of Ray show why"
            )

    def room(self) -> int:
        """Return how many actors fit on the nodes that are alive."""
        now = time.monotonic()
        if now - self._room_known >= _POLL_SECONDS:
            nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            # Readers may be on other nodes than those that they read for.
            processors = sum(node.get("CPU", 0) for node in nodes)
            with_readers = int(processors / (self._post.threads + self._post.readers))
            self._room, self._room_known = min(sum(map(self._fitting, nodes)), with_readers), now
        return self._room

    def _fitting(self, resources: dict[str, float]) -> int:
        count = resources.get("CPU", 0) / self._post.threads
        if self._post.gpus:
            count = min(count, resources.get("GPU", 0) / self._post.gpus)
        return int(count)

    def _require_room(self) -> None:
        if time.monotonic() - self._quiet_since < _WAIT_SECONDS or self._busy or self._idle:
            return
        self._quiet_since = time.monotonic()
        gpus = f" and {self._post.gpus:g} GPUs" if self._post.gpus else ""
        self._post.notify(
            f"waiting for the cluster: no process has started; each needs a node with {self._post.threads} free CPUs"
            f"{gpus}; `ray status` shows what is in use"
        )

    def _hear(self, messages: Sequence[Message]) -> None:
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
