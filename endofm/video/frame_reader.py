"""A position in a video file that moves: forward by decoding, far ahead or back by way of a key frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np

from endofm.errors import VideoError
from endofm.video.container import MediaSource, Origin
from endofm.video.frame_decoder import FrameDecoder, Picture
from endofm.video.frames import TIME_TOLERANCE, CodedFrame, Frame
from endofm.video.packets import DamageLog, PacketIndex
from endofm.video.rgb_conversion import RgbConverter, coded_picture

# A jump costs a few frames of decoding, since the codec starts empty; shorter distances are decoded through.
_MIN_JUMP_SECONDS = 1.0


class LazyIndex:
    """Index of a file, built at the first request; safe to use from several threads."""

    def __init__(self, scan: Callable[[], PacketIndex]) -> None:
        self._scan, self._lock = scan, threading.Lock()
        self.known: PacketIndex | None = None

    def get(self) -> PacketIndex:
        """Return the index; the first call reads the file."""
        with self._lock:
            if self.known is None:
                self.known = self._scan()
        return self.known


@dataclass(frozen=True, eq=False)
class Showing:
    """A picture and its time on screen, in seconds after the first frame."""

    picture: Picture
    start: float
    end: float


class FrameReader:
    """Reads one file, holding the current picture and the one after it.

    Args:
        medium: The file.
        threads: Threads of the decoder.
        damage: Records what cannot be decoded.
        lenient: See :class:`~endofm.video.frame_decoder.FrameDecoder`.
        origin: Frame at time zero; None for the first one that can be decoded.
        index: Index of the file's packets, built when it is first needed.

    Attributes:
        current: Picture on screen; None after the last one, or if there is none at all.
    """

    def __init__(
        self,
        medium: MediaSource,
        *,
        threads: int,
        damage: DamageLog,
        lenient: bool,
        origin: Origin | None = None,
        index: LazyIndex,
    ) -> None:
        self._medium, self._threads, self._damage, self._lenient = medium, threads, damage, lenient
        self._index = index
        self._longest_gop, self._last_key = 0.0, 0.0
        self._converter: RgbConverter | None = None
        self._converted: tuple[Picture, Frame] | None = None
        self.origin = origin
        self.current: Showing | None = None
        self._open()
        self._can_jump = self.clock.holds_after_jump and not lenient

    def _new_decoder(self) -> FrameDecoder:
        return FrameDecoder(self._medium, threads=self._threads, damage=self._damage, lenient=self._lenient)

    def _open(self) -> None:
        self.decoder = self._new_decoder()
        self.clock = self.decoder.clock
        self._start(self.decoder.pictures())

    def _start(self, pictures: Iterator[Picture]) -> None:
        self._pictures = pictures
        self._next = next(pictures, None)
        if self._next is not None:
            if self.origin is None:
                self.origin = Origin(self._next.tick, self.decoder.start_packet)
            self._last_key = self.seconds(self._next.tick)
        self.advance()

    def close(self) -> None:
        """Close the file."""
        self._pictures = iter(())
        self.current = self._next = self._converted = None
        self.decoder.close()

    def seconds(self, tick: int) -> float:
        """Convert a time stamp to seconds after the first frame."""
        return self.clock.seconds(tick - (self.origin.tick if self.origin else 0))

    def advance(self) -> None:
        """Move to the next picture."""
        picture = self._next
        if picture is None:
            self.current = None
            return
        self._next = next(self._pictures, None)
        start = self.seconds(picture.tick)
        # A decoding clock has no duration of the last frame; one nominal step is assumed.
        duration = picture.frame.duration if self.clock.source == "pts" else 0
        last_tick = picture.tick + self.clock.lasting(picture.tick, duration)
        self.current = Showing(picture, start, self.seconds(self._next.tick if self._next else last_tick))
        self._longest_gop = max(self._longest_gop, start - self._last_key)
        if picture.frame.key_frame:
            self._last_key = start

    def rewind(self) -> None:
        """Move to the first picture."""
        if self.current is None or self.current.start > 0:
            self.decoder.close()
            self._open()

    def show(self, time: float) -> Frame | None:
        """Move to the picture on screen at ``time`` seconds and return it; None after the end of the video."""
        if self.current is None or time + TIME_TOLERANCE < self.current.start or self._should_jump(time):
            self._jump(time)
        while self.current is not None and self.current.end <= time + TIME_TOLERANCE:
            if self._next is None:
                return None
            self.advance()
        return self.frame()

    def frame(self) -> Frame | None:
        """Return the current picture; None after the end of the video."""
        if self.current is None:
            return None
        picture, start, end = self.current.picture, self.current.start, self.current.end
        if self._converted is None or self._converted[0] is not picture:
            coded = picture.frame
            if self._converter is None:
                self._converter = RgbConverter(coded.width, coded.height)
            if (coded.width, coded.height) != (self._converter.width, self._converter.height):
                self._damage.note(
                    "size",
                    f"the picture size changes to {coded.width} x {coded.height} pixels in the middle; such frames "
                    f"were resized to the size of the first, {self._converter.width} x {self._converter.height}",
                )
            try:
                found = coded_picture(coded, self._converter)
                if found is None:
                    self._converted = picture, Frame(self._converter(coded), start, end - start)
                else:
                    self._converted = picture, CodedFrame(found, start, end - start)
            except (av.FFmpegError, ValueError) as error:
                raise VideoError(
                    f"{self._medium.name}: pictures of the format {coded.format.name!r} cannot be converted to RGB; "
                    f"convert the video to H.264"
                ) from error
        return self._converted[1]

    def _should_jump(self, time: float) -> bool:
        """Return whether a key frame between here and ``time`` saves decoding."""
        if self._next is None or not self._can_jump:
            return False
        here = self.seconds(self._next.tick)
        # A distance longer than any group of pictures seen so far contains a key frame.
        if time - here <= max(self._longest_gop, _MIN_JUMP_SECONDS):
            return False
        if not self.clock.may_jump:
            return True
        keys = self._index.get().key_times
        before = int(np.searchsorted(keys, time, side="right"))
        return before > 0 and float(keys[before - 1]) - here > _MIN_JUMP_SECONDS

    def _jump(self, time: float) -> None:
        """Move to a picture at or before ``time``, the nearest at which decoding can start."""
        if self._can_jump and (self._skip_packets(time) if self.clock.may_jump else self._seek(time)):
            return
        self.decoder.close()
        self._open()

    def _has_landed(self, time: float) -> bool:
        """Return whether decoding started cleanly, at or before ``time``."""
        # A gradual refresh (columns of intra blocks that move across the picture, marked as a key frame) yields its
        # first pictures late, and not exactly those of decoding from the beginning: decoding cannot start there.
        if self.current is not None and self.decoder.start_tick not in (None, self.current.picture.tick):
            self._can_jump = False
        if not self._can_jump or self.current is None or self.current.start > time + TIME_TOLERANCE:
            return False
        self._longest_gop = max(self._longest_gop, time - self.current.start)
        return True

    def _seek(self, time: float) -> bool:
        """Jump with the container's own index; where that lands too late, aim earlier and earlier."""
        first = self.origin.tick if self.origin else 0
        target = time
        while target > 0 and self._can_jump:
            self._can_jump = self.decoder.seek(first + int((target + TIME_TOLERANCE) / self.clock.tick))
            self._start(self.decoder.pictures(after_seek=True))
            if self._has_landed(time):
                return True
            target = time - max(2 * (time - target), self._longest_gop, 1.0)
        # This file cannot seek: later requests are decoded through without trying.
        self._can_jump = time == 0 and self._can_jump
        return False

    def _skip_packets(self, time: float) -> bool:
        """Jump by reading packets undecoded: transport and program streams have no index and seek inexactly."""
        index = self._index.get()
        key = int(np.searchsorted(index.key_times, time + TIME_TOLERANCE, side="right")) - 1
        # Where decoding cannot start at a key frame, try the ones 1, 2, 4, ... before it.
        back = 1
        while self._can_jump and key > 0:
            ordinal = int(index.key_ordinals[key])
            if self.decoder.packets_read > ordinal:
                self.decoder.close()
                self.decoder = self._new_decoder()
            self._start(self.decoder.pictures(skip_to=ordinal))
            if self._has_landed(time):
                return True
            key, back = key - back, 2 * back
        return False
