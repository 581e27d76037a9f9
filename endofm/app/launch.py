"""Running the app: for one machine on loopback, or as a Space for everyone."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from endofm.app.marks import Marks
from endofm.errors import InputError, require_extra
from endofm.library.feature_library import FeatureLibrary

LOOPBACK = ("127.0.0.1", "localhost")
"""Hosts to which the app answers unless it is told to serve others."""

MARKS_NAME = "marks.json"
"""Name of the file of marks in the folder of a library."""


_TERMINATED = 128 + signal.SIGTERM


@contextmanager
def private_gradio() -> Iterator[None]:
    """Let Gradio keep its files in a temporary folder for as long, and report nothing to anyone.

    Raises:
        MissingExtraError: If Gradio is not installed.
    """
    # Both are read when the module is loaded.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with tempfile.TemporaryDirectory(prefix="endofm-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        require_extra("gradio", "app", "The app")
        yield


def run_app(
    folder: str | Path,
    *,
    media: Sequence[str | Path] = (),
    weights: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    marks: str | Path | None = None,
    keep_marks: bool = True,
) -> None:
    """Serve the app until the process is interrupted.

    Args:
        folder: Folder of the library.
        media: Folders of the videos, if they were moved.
        weights: Weights of queries by image; by default by the name that the library states.
        host: Address to listen at. With another one than loopback, everyone who can reach it sees the videos.
        port: Port.
        marks: File of the marks; by default ``marks.json`` in the folder of the library.
        keep_marks: Keep marks in that file, which all visitors share; otherwise each visitor has marks of its own,
            which end with the visit.

    Raises:
        InputError: If the library is missing or empty, or the port is taken.
        MissingExtraError: If Gradio or LanceDB is not installed (extras ``app`` and ``library``).
    """
    library = FeatureLibrary(folder, weights=weights)
    places = [Path(one) for one in media]
    kept = Marks(marks or Path(folder) / MARKS_NAME) if keep_marks else None
    with private_gradio():
        from endofm.app.library_page import LibraryPage
        from endofm.app.server import build_server

        page = LibraryPage(library, media=places, marks=kept).build()
        hosts = LOOPBACK if host in LOOPBACK else ()
        server = build_server(page, library, media=places, hosts=hosts)
        uvicorn = require_extra("uvicorn", "app", "The app")
        # So that the temporary folder is removed as well: the server passes the signal on when it has closed.
        signal.signal(signal.SIGTERM, _terminate)
        try:
            uvicorn.run(server, host=host, port=port, log_level="warning", access_log=False)
        except SystemExit as error:
            if error.code == _TERMINATED:
                raise
            raise InputError(f"{host}:{port} cannot be listened at; choose another port with --port") from error


def _terminate(*_: object) -> None:
    sys.exit(_TERMINATED)
