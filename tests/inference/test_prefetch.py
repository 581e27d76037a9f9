"""Working ahead in a thread: how far, and that the thread ends, whatever happens."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Generator

import pytest

from endofm.inference.streaming import read_ahead

INTERRUPTED = """
import atexit, signal, sys, threading
import torch
from endofm.inference.streaming import read_ahead

method = sys.argv[1]
original = getattr(threading.Thread, method)
strikes = 0


def struck(self, *args):
    # Ctrl-C comes while the thread starts, or, for a second time, while its end is awaited.
    global strikes
    if method == "start":
        original(self, *args)
    strikes += 1
    if strikes == 1:
        raise KeyboardInterrupt
    return None if method == "start" else original(self, *args)


def endless():
    while True:
        yield torch.ones(1, 3, 64, 64).unfold(2, 2, 1).sum()


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "endofm-read-ahead"]


# What is to be done at the end is done backwards: this comes after the thread's own.
atexit.register(lambda: print("left:", len(readers())))
setattr(threading.Thread, method, struck)
try:
    for item in (items := read_ahead(endless(), 1)):
        items.close()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("method", ["start", "join"])
def test_the_thread_ends_before_the_interpreter(method: str) -> None:
    """Otherwise the process may die of SIGABRT, and shells would not report that it was interrupted."""
    command = [sys.executable, "-c", INTERRUPTED, method]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split("\n")[:2] == ["interrupted", "left: 0"]


def test_reading_stays_only_a_little_ahead() -> None:
    produced = 0

    def count() -> Generator[int, None, None]:
        nonlocal produced
        for i in range(1000):
            produced += 1
            yield i

    items = read_ahead(count(), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while produced < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert produced == 4  # one handed out, two waiting, one waiting for room
    items.close()
    assert list(read_ahead(count(), 2)) == list(range(1000))


def test_the_generator_is_closed_in_its_own_thread() -> None:
    closed_in: list[str] = []

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread().name)

    items = read_ahead(endless(), 1)
    next(items)
    items.close()
    assert closed_in == ["endofm-read-ahead"]
