"""Runs one attack in a process of its own and classifies what happened."""

from __future__ import annotations

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
    cases: Iterable[Case], *, jobs: int = 1, seconds: float = 30.0, memory_mb: int = 1500
) -> Iterator[Result]:
    """Run attacks, each in a forked process.

    The parent must not have started threads of a tensor library: a forked child cannot use their pool.

    Args:
        cases: Attacks; consumed lazily.
        jobs: Processes at the same time.
        seconds: Time limit of one attack.
        memory_mb: Limit on resident memory above that of the parent, in MiB.

    Yields:
        Results in order of completion.
    """
    running: list[_Child] = []
    pending = iter(cases)
    exhausted = False
    while running or not exhausted:
        while not exhausted and len(running) < jobs:
            case = next(pending, None)
            if case is None:
                exhausted = True
            else:
                running.append(_Child(case, seconds, memory_mb))
        if not running:
            return
        select.select([child.reader for child in running], [], [], 0.05)
        for child in list(running):
            result = child.poll()
            if result is not None:
                running.remove(child)
                yield result


class _Child:
    """A forked process that runs one case and writes its outcome to a pipe."""

    def __init__(self, case: Case, seconds: float, memory_mb: int) -> None:
        self.case, self._deadline, self._limit = case, time.monotonic() + seconds, memory_mb
        self.reader, writer = os.pipe()
        self._received = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            _work(case, writer)
        os.close(writer)
        os.set_blocking(self.reader, False)
        self._base = _resident_mb(self.pid)

    def poll(self) -> Result | None:
        """Return the result once there is one."""
        try:
            while chunk := os.read(self.reader, 1 << 16):
                self._received += chunk
            ended = True
        except BlockingIOError:
            ended = False
        if ended:
            _, status = os.waitpid(self.pid, 0)
            os.close(self.reader)
            if not self._received:
                return self._result(Outcome.CRASH, f"ended by status {status}")
            outcome, detail = json.loads(self._received)
            return self._result(Outcome(outcome), detail)
        if time.monotonic() > self._deadline:
            return self._kill(Outcome.NO_END, "time limit")
        if _resident_mb(self.pid) - self._base > self._limit:
            return self._kill(Outcome.MEMORY, f"more than {self._limit} MiB")
        return None

    def _kill(self, outcome: Outcome, detail: str) -> Result:
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.reader)
        return self._result(outcome, detail)

    def _result(self, outcome: Outcome, detail: str) -> Result:
        return Result(self.case.kind, self.case.name, outcome, detail[:400])


def _work(case: Case, writer: int) -> None:
    """Run a case in the child and end the process."""
    from endofm.errors import EndoFMError

    os.setpgid(0, 0)  # So that processes that the case starts end with it.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        outcome, detail = case.run()
    except EndoFMError as error:
        message = str(error)
        # A message of ours that quotes a page of bad input is as useless as none.
        outcome = Outcome.ERROR if len(message) < 2000 else Outcome.FOREIGN
        detail = f"{type(error).__name__}: {message}"
    except MemoryError as error:
        outcome, detail = Outcome.MEMORY, str(error)
    except BaseException as error:
        outcome, detail = Outcome.FOREIGN, f"{type(error).__name__}: {error}"
    os.write(writer, json.dumps([outcome.value, detail[:400]]).encode())
    os._exit(0)


def _resident_mb(pid: int) -> int:
    """Resident memory of a process in MiB; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
