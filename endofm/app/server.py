"""Server of the app: the page, the videos of the library by number, and frames of them.

Videos have no paths here: ``/media/7`` is the video of recording 7, and there is no other way to a file. Everything
else that Gradio could serve is in a temporary folder of this process. Imported after
:func:`~endofm.app.launch.private_gradio`, which chooses that folder.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response

from endofm.errors import EndoFMError, InputError
from endofm.library.feature_library import FeatureLibrary
from endofm.library.thumbnails import thumbnail
from endofm.video.find import VIDEO_SUFFIXES

LARGEST_UPLOAD = 64 * 2**20
"""Bytes of an uploaded image."""

_FRAME_SIDE = 480

# Nothing comes from elsewhere: no fonts, scripts or measurements, whatever a later release of Gradio asks for.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:"
)

_CSS = """
#player video {width: 100%; max-height: 420px; background: #000; border-radius: 6px}
#moment img {max-height: 160px; border-radius: 6px}
#hits .caption-label, #guesses .caption-label {white-space: normal; max-width: 100%; font-size: 0.75em}
#moment figcaption, #notice {font-size: 0.85em; opacity: 0.8}
footer {display: none !important}
"""

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]


def build_server(
    page: gr.Blocks, library: FeatureLibrary, *, media: Sequence[Path] = (), hosts: Sequence[str] = ()
) -> Guard:
    """Return the application that serves a page of Gradio, and the library's videos and frames by number.

    Args:
        page: The page, which finds videos under ``media/NUMBER`` and frames under ``frame/NUMBER?t=SECONDS``.
        library: The library.
        media: Folders of the videos, if they were moved.
        hosts: Names under which it answers; see :class:`Guard`.
    """
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def video(number: int) -> Path | None:
        recording = next((one for one in library.recordings if one.id == number), None)
        return None if recording is None else recording.media_file(media)

    @lru_cache(maxsize=256)
    def picture(file: Path, seconds: float) -> bytes:
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(thumbnail(file, seconds, _FRAME_SIDE)).save(content, "JPEG", quality=85)
        return content.getvalue()

    def serve_video(number: int) -> Response:
        file = video(number)
        # A library may come from others, and name any file of this machine: only videos are given out, by their suffix.
        # What is named otherwise is seen through its frames, if it has any, and so is a folder of frames.
        if file is None or not file.is_file() or file.suffix.lower() not in VIDEO_SUFFIXES:
            return PlainTextResponse("This video is not found.", status_code=404)
        return FileResponse(file)

    def serve_frame(number: int, t: float = 0.0) -> Response:
        file = video(number)
        try:
            if file is None or not 0 <= t < 1e9:
                raise InputError("this video is not found")
            return Response(picture(file, round(t, 2)), media_type="image/jpeg")
        except EndoFMError as error:
            return PlainTextResponse(str(error), status_code=404)

    server.add_api_route("/media/{number}", serve_video, methods=["GET", "HEAD"], response_model=None)
    server.add_api_route("/frame/{number}", serve_frame, methods=["GET"], response_model=None)
    gr.mount_gradio_app(
        server,
        page,
        path="/",
        server_name=hosts[0] if hosts else "0.0.0.0",
        allowed_paths=[],
        show_error=False,
        max_file_size=LARGEST_UPLOAD,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        theme=gr.themes.Soft(
            font=[gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")], font_mono=[gr.themes.Font("monospace")]
        ),
        css=_CSS,
    )
    return Guard(server, hosts)


class Guard:
    """Application that refuses requests by other names, and allows pages to load from here alone.

    Args:
        server: The application inside.
        hosts: Names under which it answers; empty for all. A page of another site could otherwise reach an app on this
            machine through a name of its own that points here.
    """

    def __init__(self, server: Any, hosts: Sequence[str]) -> None:
        self._server, self._hosts = server, tuple(hosts)
        policy = f"{_POLICY}; frame-ancestors 'self'" if hosts else _POLICY
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http":
            await self._server(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self._hosts and host.rpartition(":")[0] not in self._hosts and host not in self._hosts:
            refusal = PlainTextResponse("This app answers on the machine that it runs on.", status_code=403)
            await refusal(scope, receive, send)
            return

        async def with_headers(message: _Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._server(scope, receive, with_headers)
