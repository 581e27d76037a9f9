"""Page of the app, in Gradio: browse, play, search, mark, guess, export.

Imported after :func:`~endofm.app.launch.private_gradio`, which decides where Gradio keeps its files.
"""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from endofm.app.guesses import MarkedMoments, path_of
from endofm.app.marks import Mark, Marks, export_marks
from endofm.disclaimer import DISCLAIMER
from endofm.errors import EndoFMError, InputError, visible
from endofm.library.feature_library import FeatureLibrary
from endofm.library.hits import SearchHit
from endofm.library.query import Query
from endofm.library.recording import Recording
from endofm.library.thumbnails import thumbnails
from endofm.tasks.features.results import clock
from endofm.video.find import IMAGE_SUFFIXES
from endofm.video.open import open_video

# Where the browser cannot play a video, the time of the slider counts.
_PLAYER = "(t) => {const v = document.querySelector('#player video'), ok = v && v.readyState > 0; "
_PLAYER_TIME = _PLAYER + "return ok ? Math.min(v.currentTime, Number(v.dataset.end)) : t}"
_SEEK = _PLAYER + "if (ok) v.currentTime = t; return t}"

_EVERY = "every set"
_MOST_SESSIONS = 1000


class LibraryPage:
    """Page over one library.

    Args:
        library: The library, with at least one recording.
        media: Folders of the videos, if they were moved.
        marks: Marks that all visitors share; None to give each their own, which end with the visit.
    """

    def __init__(self, library: FeatureLibrary, *, media: Sequence[Path] = (), marks: Marks | None = None) -> None:
        self._library, self._media, self._shared = library, media, marks
        self._own: dict[str, Marks] = {}
        if not library.recordings:
            raise InputError(f"{library.folder}: this library is empty; `endofm library add` adds features")

    def build(self) -> gr.Blocks:
        """Return the page."""
        with gr.Blocks(title="endofm library", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
            gr.Markdown(f"## Library of procedures\n{self._describe()}")
            found = gr.State([])
            with gr.Row():
                with gr.Column(scale=3):
                    which = gr.Dropdown(
                        self._choices(), value=self._library.recordings[0].id, label="Recording", elem_id="recording"
                    )
                    player = gr.HTML(elem_id="player")
                    time = gr.Slider(0, 1, value=0, step=0.1, label="Time in seconds", elem_id="time")
                    moment = gr.HTML(elem_id="moment")
                    label = gr.Textbox(label="Label", max_length=100, elem_id="label")
                    with gr.Row():
                        mark = gr.Button("Mark this moment", variant="primary", elem_id="mark")
                        unmark = gr.Button("Remove the mark", elem_id="unmark")
                    table = gr.Dataframe(
                        headers=["label", "recording", "start", "end"],
                        interactive=False,
                        label="Marks",
                        elem_id="marks",
                    )
                    export = gr.Button("Export the marks for `endofm finetune`", elem_id="export")
                    file = gr.File(label="List", interactive=False, visible=False, elem_id="list")
                with gr.Column(scale=4):
                    with gr.Row():
                        sets = sorted({one.set for one in self._library.recordings})
                        chosen = gr.Dropdown([_EVERY, *sets], value=_EVERY, label="Search in", elem_id="sets")
                        count = gr.Slider(1, 60, value=12, step=1, label="Moments", elem_id="count")
                        same = gr.Checkbox(label="Also in the same recording", elem_id="same")
                    with gr.Row():
                        like = gr.Button("Find moments like this one", variant="primary", elem_id="find")
                        image = gr.UploadButton("Find moments like an image", type="filepath", elem_id="image")
                    told = gr.Markdown(elem_id="told")
                    hits = _gallery("Found moments: choose one to play it", "hits")
                    guess = gr.Button("Guess the labels of similar moments", elem_id="guess")
                    guessed = _gallery("Guesses by the nearest marks: choose one to play it", "guesses")
            guesses = gr.State([])
            gr.Markdown(DISCLAIMER, elem_id="notice")

            private: dict[str, Any] = {"api_visibility": "private"}
            show = [player, time, moment]
            filters = [chosen, count, same]
            page.load(_safe(self.open), [which], show, **private)
            page.load(_safe(self.list_marks), None, [table], **private)
            which.input(_safe(self.open), [which], show, **private)
            time.release(_safe(self.show_moment), [which, time], [moment], **private)
            time.release(None, [time], [time], js=_SEEK, **private)
            clicked = like.click(None, [time], [time], js=_PLAYER_TIME, **private)
            clicked.then(_safe(self.find_like), [which, time, *filters], [hits, found, told, moment], **private)
            image.upload(_safe(self.find_image), [image, *filters], [hits, found, told], **private)
            hits.select(_safe(self.play), [found], [which, *show], **private)
            guessed.select(_safe(self.play), [guesses], [which, *show], **private)
            marked = mark.click(None, [time], [time], js=_PLAYER_TIME, **private)
            marked.then(_safe(self.mark), [which, time, label], [table, moment], **private)
            removed = unmark.click(None, [time], [time], js=_PLAYER_TIME, **private)
            removed.then(_safe(self.unmark), [which, time], [table, moment], **private)
            export.click(_safe(self.export), None, [file], **private)
            guess.click(_safe(self.guess), None, [guessed, guesses], **private)
        return page

    def open(self, number: int) -> tuple[Any, Any, Any]:
        """Return player, slider and frame at the beginning of a recording."""
        return self._show(self._recording(number), 0.0)

    def play(self, places: list[tuple[int, float]], chosen: gr.SelectData) -> tuple[Any, ...]:
        """Return number, player, slider and frame of a moment that was found."""
        number, seconds = places[chosen.index]
        recording = self._recording(number)
        return (recording.id, *self._show(recording, seconds))

    def show_moment(self, number: int, seconds: float, request: gr.Request | None = None) -> str:
        """Return the frame at a time, with what the marks suggest about it."""
        return self._frame(self._recording(number), seconds, self._marks(request))

    def find_like(
        self, number: int, seconds: float, chosen: str, count: int, same: bool, request: gr.Request | None = None
    ) -> tuple[Any, ...]:
        """Return the moments most like one of a recording."""
        recording = self._recording(number)
        query = self._library.query_recording(recording, min(seconds, recording.seconds))
        return (*self._find(query, chosen, count, same), self._frame(recording, seconds, self._marks(request)))

    def find_image(self, file: str | None, chosen: str, count: int, same: bool) -> tuple[Any, ...]:
        """Return the moments most like an uploaded image."""
        path = Path(file or "")
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(f"{path.name}: upload an image ({', '.join(sorted(IMAGE_SUFFIXES))})")
        try:
            with open_video(path) as source:
                frame = next(iter(source)).data
        except EndoFMError as error:
            # Without the folder of this process in which uploaded files lie.
            raise InputError(str(error).replace(str(path), path.name)) from error
        query = self._library.query(frame)
        return self._find(Query(path.name, query.unit), chosen, count, same)

    def list_marks(self, request: gr.Request | None = None) -> list[list[Any]]:
        """Return the rows of the table of marks."""
        names = {path_of(one, self._media): one.name for one in self._library.recordings}
        return [
            [visible(mark.label), visible(names.get(mark.path, mark.path)), clock(mark.start), clock(mark.end)]
            for mark in self._marks(request).all()
        ]

    def mark(self, number: int, seconds: float, label: str, request: gr.Request | None = None) -> tuple[Any, Any]:
        """Mark the clip at a time."""
        recording, marks = self._recording(number), self._marks(request)
        marks.add(self._mark(recording, seconds, label.strip()))
        return self.list_marks(request), self._frame(recording, seconds, marks)

    def unmark(self, number: int, seconds: float, request: gr.Request | None = None) -> tuple[Any, Any]:
        """Remove the marks of the clip at a time."""
        recording, marks = self._recording(number), self._marks(request)
        here = self._mark(recording, seconds, "any")
        for mark in marks.all():
            if mark.path == here.path and mark.start < here.end and here.start < mark.end:
                marks.remove(mark)
        return self.list_marks(request), self._frame(recording, seconds, marks)

    def export(self, request: gr.Request | None = None) -> Any:
        """Return the list of marks as a file to download."""
        folder = tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])
        return gr.File(value=str(export_marks(self._marks(request).all(), Path(folder) / "marks.csv")), visible=True)

    def guess(self, request: gr.Request | None = None) -> tuple[Any, Any]:
        """Return the moments that the marks label, surest first."""
        marked = MarkedMoments(self._library, self._marks(request).all(), self._media)
        if not marked.queries:
            raise InputError("nothing is marked yet; choose a moment and give it a label first")
        guesses = marked.suggest(12)
        captions = [f"{guess.label} {guess.share:.0%}, {_place(guess.hit)}" for guess in guesses]
        return self._gallery([guess.hit for guess in guesses], captions), _places([guess.hit for guess in guesses])

    def _find(self, query: Query, chosen: str, count: int, same: bool) -> tuple[Any, Any, str]:
        hits = self._library.search(query, int(count), set=None if chosen == _EVERY else chosen, same_recording=same)
        captions = [_place(hit) + _share(hit) for hit in hits]
        told = f"{len(hits)} moments like {_plain(query.name)}."
        if hits and hits[0].above_unrelated is not None:
            told += " The number beside each is the share of unrelated pairs that are less similar."
        if hits.untrained:
            told += " The weights are random: scores mean nothing."
        return self._gallery(hits, captions), _places(hits), told

    def _gallery(self, hits: Sequence[SearchHit], captions: Sequence[str]) -> list[tuple[Any, str]]:
        empty = np.full((52, 64, 3), 40, np.uint8)
        pictures = thumbnails(hits, self._media)
        return [
            (empty if picture is None else picture, visible(caption))
            for picture, caption in zip(pictures, captions, strict=True)
        ]

    def _show(self, recording: Recording, seconds: float) -> tuple[Any, Any, Any]:
        file = recording.media_file(self._media)
        # A video may be longer than its clips: a last window that is too short has none.
        end = round(recording.seconds, 1)
        slider = gr.Slider(0, end, value=min(round(seconds, 1), end))
        if file is None:
            player = f"<p>The video of {html.escape(visible(recording.name))} is not found.</p>"
        else:
            source = f"media/{recording.id}#t={seconds:.2f}"
            player = f'<video src="{source}" data-end="{end}" controls muted playsinline preload="auto"></video>'
        return player, slider, self._frame(recording, seconds, None)

    def _frame(self, recording: Recording, seconds: float, marks: Marks | None) -> str:
        caption = f"{clock(seconds)} of {visible(recording.name)}"
        if marks is not None and len(marks):
            guess = self._guess_here(recording, seconds, marks)
            caption += f". The nearest marks say: {guess}" if guess else ""
        picture = f'<img src="frame/{recording.id}?t={seconds:.2f}" alt="frame at {clock(seconds)}">'
        return f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"

    def _guess_here(self, recording: Recording, seconds: float, marks: Marks) -> str:
        marked = MarkedMoments(self._library, marks.all(), self._media)
        if not marked.queries:
            return ""
        query = self._library.query_recording(recording, min(seconds, recording.seconds))
        (shares,) = marked.votes(query.unit[None])
        order = np.argsort(-shares)[:3]
        return ", ".join(f"{visible(marked.classes[one])} {shares[one]:.0%}" for one in order)

    def _mark(self, recording: Recording, seconds: float, label: str) -> Mark:
        start, end = self._library.span_at(recording, min(seconds, recording.seconds))
        return Mark(path_of(recording, self._media), start, end, label, recording.patient)

    def _recording(self, number: int) -> Recording:
        for recording in self._library.recordings:
            if recording.id == number:
                return recording
        raise InputError("this recording is no longer in the library; reload the page")

    def _marks(self, request: gr.Request | None) -> Marks:
        if self._shared is not None:
            return self._shared
        if len(self._own) >= _MOST_SESSIONS:
            self._own.pop(next(iter(self._own)))
        return self._own.setdefault(str(getattr(request, "session_hash", "")), Marks())

    def _choices(self) -> list[tuple[str, int]]:
        return [(f"{visible(one.name)} ({clock(one.seconds)})", one.id) for one in self._library.recordings]

    def _describe(self) -> str:
        count = len(self._library.recordings)
        text = f"{count} {'recording' if count == 1 else 'recordings'}, {len(self._library):,} clips, embedded by "
        return f"{text}{_plain(self._library.settings['weights'])}"


def _gallery(label: str, name: str) -> gr.Gallery:
    return gr.Gallery(
        label=label,
        columns=4,
        height=460,
        format="jpeg",
        allow_preview=False,
        object_fit="contain",
        elem_id=name,
        buttons=[],
    )


def _place(hit: SearchHit) -> str:
    return f"{clock(hit.start_seconds)} {hit.recording.name}"


def _share(hit: SearchHit) -> str:
    return "" if hit.above_unrelated is None else f", above {int(hit.above_unrelated * 1e4) / 100:g} %"


def _places(hits: Sequence[SearchHit]) -> list[tuple[int, float]]:
    return [(hit.recording.id, hit.start_seconds) for hit in hits]


def _plain(text: str) -> str:
    """Return text of others for Markdown, in which it means nothing but itself."""
    return "".join(char if char.isalnum() or char in " -_./:" else f"&#{ord(char)};" for char in visible(text))


def _safe(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method whose errors are shown if they are of this package; of others no details are shown."""

    @wraps(method)
    def call(*values: Any) -> Any:
        try:
            return method(*values)
        except EndoFMError as error:
            # Shown as HTML, and the message may quote the name of an uploaded file.
            raise gr.Error(html.escape(str(error)), print_exception=False) from None

    return call
