"""``ClipStream``: features of a video, clip by clip while it is being read."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any

from endofm.errors import CancelledError, VideoError
from endofm.progress import Progress, progress_bar
from endofm.tasks.features.results import ClipFeatures
from endofm.tasks.features.stream import FeatureStream

if TYPE_CHECKING:
    from typing_extensions import Self


class ClipStream:
    """Iterator over the clips of one video, which returns each as soon as it is ready.

    A thread decodes ahead. It ends, and the video is closed, with the last clip, an error, ``close()``, the end of a
    ``with`` block, or when nothing refers to the stream any more, as after ``break``. One thread iterates;
    :meth:`cancel` may be called from any.

    Args:
        stream: Stream of the open video.
        weights: Provenance of the weights, as plain JSON values.
        resources: Closed at the end.
        progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).
    """

    def __init__(
        self, stream: FeatureStream, weights: Mapping[str, Any], resources: ExitStack, *, progress: Progress
    ) -> None:
        self._stream, self._weights, self._resources = stream, weights, resources
        self._cancelled = Event()
        # Without a reference to this object: it could then be released by the garbage collector alone.
        self._clips = _clips(stream, resources, self._cancelled, progress)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ClipFeatures:
        return next(self._clips)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ClipStream({Path(self._stream.source.metadata.name).name!r}, {self.expected()} clips expected)"

    def expected(self) -> int:
        """Return the number of clips to expect; a damaged video may have fewer."""
        return len(self._stream.plan)

    def cancel(self) -> None:
        """Make the iteration raise :class:`~endofm.errors.CancelledError` in place of the next clip."""
        self._cancelled.set()

    def close(self) -> None:
        """End the iteration, and close the video."""
        self._clips.close()
        # A generator that was never started has not closed them.
        self._resources.close()

    @property
    def problems(self) -> tuple[str, ...]:
        """Decoding problems met so far, one sentence each."""
        return tuple(self.provenance()["problems"])

    def provenance(self) -> dict[str, Any]:
        """Return how the features are computed, with the problems so far, as plain JSON values."""
        return self._stream.provenance(self._weights)


def _clips(
    stream: FeatureStream, resources: ExitStack, cancelled: Event, progress: Progress
) -> Generator[ClipFeatures, None, None]:
    name, total = Path(stream.source.metadata.name).name, len(stream.plan)
    bar = progress_bar(total=total, description=name, unit="clip", progress=progress)
    count = 0
    with resources, bar, closing(iter(stream)) as batches:
        for batch in batches:
            for clip in batch:
                if cancelled.is_set():
                    raise CancelledError(f"{name}: cancelled after {count} of {total} clips")
                count += 1
                bar.update(1)
                yield clip
        if not count:
            raise VideoError(f"{name}: no frame of this video could be decoded")
