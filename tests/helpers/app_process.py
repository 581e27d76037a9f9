"""The app as a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def running_app(*arguments: str | Path, end: signal.Signals = signal.SIGINT) -> Iterator[str]:
    """Run a script or module of Python that serves the app until the block ends; yield its address.

    Args:
        *arguments: Arguments of Python. The port is added as ``--port`` to those of a module, and is in the environment
            of a script as ``PORT``, with ``HOST``.
        end: Signal that ends it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, *map(str, arguments), *(["--port", str(port)] if arguments[0] == "-m" else [])]
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(900):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/", timeout=5):
                    break
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                time.sleep(0.2)
            yield address
        finally:
            process.send_signal(end)
            _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors
