"""Runs attacks in other processes and classifies what happened.

A process serves a batch of attacks, because a fork of a process that holds a tensor library costs more than most
attacks. An attack that ends its process, by a crash, by taking too long or too much memory, ends it for itself alone:
the rest of its batch gets another one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Outcome(str, Enum):
    """Result of one attack; :data:`FAILURES` are the ones that fail a campaign."""

    OK = "ok"
    REPORTED = "ok with report"
    ERROR = "our error"
    UNDETECTABLE = "undetectable"
    FOREIGN = "foreign exception"
    CRASH = "crash"
    NO_END = "no end"
    MEMORY = "memory"
    SILENT = "silent damage"


FAILURES = (Outcome.FOREIGN, Outcome.CRASH, Outcome.NO_END, Outcome.MEMORY, Outcome.SILENT)


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        kind: Row of the table that it counts in.
        name: What is attacked and how, with everything needed to repeat it.
        run: The attack. It returns an outcome and a detail; exceptions are classified by the sandbox.
    """

    kind: str
    name: str
    run: Callable[[], tuple[Outcome, str]]


@dataclass(frozen=True)
class Result:
    """Outcome of one attack.

    Attributes:
        kind: As in the case.
        name: As in the case.
        outcome: Classified result.
        detail: Message or measurement, at most 400 characters.
    """

    kind: str
    name: str
    outcome: Outcome
    detail: str


def generator(seed: int, *parts: object) -> random.Random:
    """Return a random generator that depends on the seed and on the case alone, not on the order of cases."""
    return random.Random(":".join(map(str, (seed, *parts))))


def run_cases(
    cases: Iterable[Case], *, jobs: int = 1, seconds: float = 30.0, memory_mb: int = 1500, batch: int = 250
) -> Iterator[Result]:
    """Run attacks in forked processes.

    The parent must not have started threads of a tensor library: a forked child cannot use their pool.

    Args:
        cases: Attacks; consumed lazily.
        jobs: Processes at the same time.
        seconds: Time limit of one attack.
        memory_mb: Limit on resident memory above that of the process when it began, in MiB.
        batch: Attacks that one process serves, one after the other.

    Yields:
        Results in order of completion.
    """
    running: list[_Child] = []
    pending = iter(cases)
    unfinished: list[list[Case]] = []
    try:
        while True:
            while len(running) < jobs:
                cases_of_one = unfinished.pop() if unfinished else list(itertools.islice(pending, batch))
                if not cases_of_one:
                    break
                running.append(_Child(cases_of_one, seconds, memory_mb))
            if not running:
                return
            select.select([child.reader for child in running], [], [], 0.05)
            for child in list(running):
                yield from child.poll()
                if child.ended:
                    running.remove(child)
                    if child.cases:
                        unfinished.append(child.cases)
    finally:
        for child in running:
            child.kill()


class _Child:
    """A forked process that runs a batch of cases and writes their outcomes to a pipe, one a line.

    Attributes:
        cases: Those without a result yet.
        ended: Whether the process is gone.
    """

    def __init__(self, cases: list[Case], seconds: float, memory_mb: int) -> None:
        self.cases, self.ended = cases, False
        self._seconds, self._limit = seconds, memory_mb
        self._deadline = time.monotonic() + seconds
        self.reader, writer = os.pipe()
        self._received = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            _work(cases, writer)
        os.close(writer)
        os.set_blocking(self.reader, False)
        self._base = _resident_mb(self.pid)

    def poll(self) -> Iterator[Result]:
        """Yield the results that have arrived; end the process if its current attack does not end by itself."""
        try:
            while chunk := os.read(self.reader, 1 << 16):
                self._received += chunk
            closed = True
        except BlockingIOError:
            closed = False
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            outcome, detail = json.loads(line)
            yield self._result(Outcome(outcome), detail)
            self._deadline = time.monotonic() + self._seconds
        if closed:
            _, status = os.waitpid(self.pid, 0)
            os.close(self.reader)
            self.ended = True
            if self.cases:
                yield self._result(Outcome.CRASH, f"ended by status {status}")
        # Memory first: on a busy machine both limits may have passed when it is this process's turn.
        elif self.cases and _resident_mb(self.pid) - self._base > self._limit:
            self.kill()
            yield self._result(Outcome.MEMORY, f"more than {self._limit} MiB")
        elif self.cases and time.monotonic() > self._deadline:
            self.kill()
            yield self._result(Outcome.NO_END, "time limit")

    def kill(self) -> None:
        """End the process and those that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.reader)
        self.ended = True

    def _result(self, outcome: Outcome, detail: str) -> Result:
        case = self.cases.pop(0)
        return Result(case.kind, case.name, outcome, detail[:400])


def _work(cases: list[Case], writer: int) -> None:
    """Run cases in the child and end the process."""
    os.setpgid(0, 0)  # So that processes that the cases start end with it.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        for case in cases:
            outcome, detail = _judge(case)
            os.write(writer, json.dumps([outcome.value, detail[:400]]).encode() + b"\n")
    finally:  # Also if the parent is gone: nothing of it may run here.
        os._exit(0)


def _judge(case: Case) -> tuple[Outcome, str]:
    """Run a case and classify the exception that it ends with, if any."""
    from endofm.errors import EndoFMError

    try:
        return case.run()
    except EndoFMError as error:
        message = str(error)
        # A message of ours that quotes a page of bad input is as useless as none.
        outcome = Outcome.ERROR if len(message) < 2000 else Outcome.FOREIGN
        return outcome, f"{type(error).__name__}: {message}"
    except MemoryError as error:
        return Outcome.MEMORY, str(error)
    except BaseException as error:
        return Outcome.FOREIGN, f"{type(error).__name__}: {error}"


def _resident_mb(pid: int) -> int:
    """Resident memory of a process in MiB; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
