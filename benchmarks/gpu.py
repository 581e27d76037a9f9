"""Everything about a GPU that is measured, in one run of less than eight minutes.

    python -m benchmarks gpu --out gpu.jsonl

Each part runs in a process of its own with a limit of time, so that an error or a hang of one leaves the others as they
are, and its results are appended to the file as soon as they are known: one JSON object a line. Parts that need what
this machine lacks say so. Without a GPU the parts that can run on a CPU are run there at a toy size, which measures
nothing and shows that the script works.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from benchmarks.gpu_parts import PARTS, Bench
from endofm.files import require_writable

_SECONDS = 460.0
"""Limit of all parts together."""


def main(arguments: list[str]) -> int:
    """Run the parts; the status is 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"), help="file of results (default: gpu.jsonl)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts (default: all)")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="limit of all parts together")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part:
        for result in PARTS[args.part].run(Bench.on(torch.device(args.device))):
            print(json.dumps(result), flush=True)
        return 0
    require_writable(args.out)
    args.out.unlink(missing_ok=True)
    end = time.monotonic() + args.seconds
    failed = 0
    for name in args.only:
        limit = min(PARTS[name].seconds, end - time.monotonic())
        failed += _run_part(name, args, limit)
    return int(failed > 0)


def _run_part(name: str, args: argparse.Namespace, limit: float) -> bool:
    """Run a part in its own process and keep what it prints; return whether it failed."""
    if limit < 1:
        _keep(args.out, {"part": name, "state": "skipped", "reason": "no time left"})
        return False
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks", "gpu", "--part", name, "--device", args.device]
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        _kill(child)

    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        timer = threading.Timer(limit, stop)
        timer.start()
        assert child.stdout is not None
        # Kept line by line: what ends this process does not take the results of the part with it.
        for line in child.stdout:
            if line.startswith("{"):
                _keep(args.out, {"part": name, **json.loads(line)})
        child.wait()
        timer.cancel()
        errors.seek(0)
        state, reason = ("done", "") if child.returncode == 0 else ("failed", errors.read().strip()[-2000:])
    if stopped.is_set():
        state, reason = "stopped", f"took longer than {limit:.0f} s"
    _keep(args.out, {"part": name, "state": state, "reason": reason, "seconds": round(time.monotonic() - began, 1)})
    return state == "failed"


def _kill(child: subprocess.Popen[str]) -> None:
    """Kill a part with the processes that it started; one that is left would hold the pipe open."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def _keep(path: Path, result: dict[str, object]) -> None:
    line = json.dumps(result)
    print(line, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
