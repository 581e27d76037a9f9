"""Form of prepared clips (length, size and rate), and the rule that cuts a sequence into clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from endofm.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ClipFormat:
    """Form of prepared clips. The defaults are those of the published pre-training clips (``data/*.py`` of Endo-FM).

    Attributes:
        clip_frames: Nominal frames per clip; the last clip of a sequence takes the remainder.
        short_side: Length of the shorter side in pixels.
        fps: Rate that is written into the files, in frames per second. Frames are neither dropped nor duplicated to
            reach it: a source of another rate keeps its frames, and the manifest keeps its true times.
    """

    clip_frames: int = 150
    short_side: int = 256
    fps: int = 30

    def __post_init__(self) -> None:
        for name, least in (("clip_frames", 1), ("short_side", 16), ("fps", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"ClipFormat.{name} must be an integer >= {least}, got {value!r}")
        if self.short_side % 2:
            raise ConfigError(
                f"ClipFormat.short_side must be even (4:2:0 video has no odd sizes), got {self.short_side}"
            )

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height in pixels of the clip of a ``width x height`` source, both even.

        The shorter side becomes ``short_side``; the longer one keeps the aspect ratio and is rounded down to even.
        """
        short = min(width, height)
        long_side = max(width, height) * self.short_side // short
        long_side -= long_side % 2
        return (long_side, self.short_side) if width > height else (self.short_side, long_side)


def split_lengths(num_frames: int, clip_frames: int) -> list[int]:
    """Return the lengths of the clips of a sequence.

    Fewer than ``clip_frames`` frames are one clip; otherwise there are ``num_frames // clip_frames`` clips, the last
    one with the remainder on top.
    """
    if num_frames <= 0:
        return []
    count = max(1, num_frames // clip_frames)
    return [clip_frames] * (count - 1) + [num_frames - clip_frames * (count - 1)]


def split_stream(frames: Iterable[T], clip_frames: int) -> Iterator[Iterator[T]]:
    """Cut a stream of unknown length by the rule of :func:`split_lengths`.

    Yields one iterator per clip, each to be exhausted before the next one is requested. At most ``clip_frames`` frames
    are held: those that follow a full clip, until it is known whether they are its remainder or another clip.
    """
    stream = iter(frames)
    ahead = deque(islice(stream, clip_frames))

    def clip() -> Iterator[T]:
        full = len(ahead) == clip_frames
        while ahead:
            yield ahead.popleft()
        if full:
            # Fewer frames than a full clip can only be the end of the stream: they belong to this clip.
            ahead.extend(islice(stream, clip_frames))
            if len(ahead) < clip_frames:
                while ahead:
                    yield ahead.popleft()

    while ahead:
        yield clip()
