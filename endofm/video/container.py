"""A video container: opening it, choosing the stream that is the video, and reading its clock."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, cast

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from endofm.errors import VideoError
from endofm.video.shared_file import SharedFile

# Demuxers that libavformat may choose, by its own names. It consults the list after recognising a format and before
# reading any further, so that playlists, session descriptions and lists of files (hls, dash, concat, sdp, rtsp, imf,
# image2 ...) are refused before they can open a file or a socket. Sound is on it for the message that it is only sound.
_FORMATS = (
    "3g2,3gp,apng,asf,asf_o,av1,avi,avs2,avs3,cavsvideo,cine,dhav,dirac,dnxhd,dv,evc,f4v,film_cpk,filmstrip,flic,"
    "flv,gif,gxf,h261,h263,h264,hevc,ivf,ivr,kux,live_flv,lxf,m4v,matroska,webm,mjpeg,mjpeg_2000,mov,mp4,m4a,mj2,"
    "mpeg,mpegts,mpegvideo,mpjpeg,mtv,mxf,nsv,nut,nuv,obu,ogg,pva,rm,ser,smjpeg,swf,ty,vc1,vc1test,vivo,vvc,wtv,"
    "yuv4mpegpipe,bmp_pipe,j2k_pipe,jpeg_pipe,jpegls_pipe,png_pipe,ppm_pipe,pgm_pipe,tiff_pipe,webp_pipe,"
    "aac,ac3,aiff,amr,au,caf,eac3,flac,mp3,w64,wav"
)

# Beginnings of texts that name other files or addresses, for the message.
_REFERRING = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat": "a list of files for FFmpeg",
    b"v=0": "a session description (SDP)",
    b"[playlist]": "a playlist",
    b"<asx": "a playlist",
    b"<?xml": "an XML document (a DASH or other manifest)",
    b"<MPD": "a DASH manifest",
}

# A time stamp so far beyond the length in the header is damage. Accepted, one flipped bit would make a video of weeks.
_BEYOND_SECONDS = 10.0

# Frames by which a codec may reorder, and more.
_MOST_REORDERED = 32

# The longest time that a frame may stay on screen by the word of a file that states no length.
LONGEST_FRAME_SECONDS = 3600.0
_LENGTH_IN_HEADER = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flv"}

# Containers whose header states the end on the clock of the file, and not the length after the first frame.
_END_IN_HEADER = {"matroska,webm", "asf", "nut"}

_FALLBACK_RATE = Fraction(25)
_SLOWEST, _TICKING, _FASTEST = Fraction(1, 3600), Fraction(1000), Fraction(100_000)
_SLOWEST_RAW, _FASTEST_RAW = Fraction(1, 2), Fraction(1000)


class Damage(Exception):
    """A contradiction in the structure of a file; its text is a sentence for the user."""

    @classmethod
    def at(cls, position: int, what: str) -> Damage:
        """Return damage at a byte of the file."""
        return cls(f"the file is damaged at byte {position:,} ({what}); frames may be missing, wrong or at wrong times")


class FileBytes:
    """Bytes of a file by position.

    Args:
        file: The file, at any position.

    Attributes:
        size: Number of bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)

    def read(self, position: int, count: int) -> bytes:
        """Return exactly ``count`` bytes; raise :class:`Damage` if the file ends before."""
        self.require(position + count)
        self._file.seek(position)
        return self._file.read(count)

    def require(self, end: int) -> None:
        """Raise :class:`Damage` if the file ends before byte ``end``."""
        if end > self.size:
            raise Damage(f"the file should have at least {end:,} bytes and has {self.size:,}; it was cut off")


class MediaSource:
    """Bytes of one container, which can be opened any number of times, each time with an independent position.

    Args:
        source: Path of a regular file, the bytes themselves, or a seekable binary file object.
        name: Name for messages.
    """

    def __init__(self, source: Path | bytes | BinaryIO, name: str) -> None:
        self.name = name
        self._source = source if isinstance(source, (Path, bytes)) else SharedFile(source, name)

    def open(self, *, probe_bytes: int | None = None) -> InputContainer:
        """Open the container once more.

        Args:
            probe_bytes: Bytes from which FFmpeg must recognise the format; by default as many as it likes.

        Raises:
            VideoError: If this is not a readable video container.
        """
        try:
            path = isinstance(self._source, Path)
            # Bytes come without a protocol; whatever asks for one wants something else than these bytes.
            options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file" if path else "none"}
            if probe_bytes is not None:
                options["formatprobesize"] = str(probe_bytes)
            target = str(self._source.absolute()) if isinstance(self._source, Path) else self._bytes()
            container = av.open(target, "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError, EOFError) as error:
            self.require_read()
            raise VideoError(self._why_unreadable(error)) from error
        return container

    def require_read(self) -> None:
        """Raise a VideoError if a read of a file object has failed; see :meth:`SharedFile.require_read`."""
        if isinstance(self._source, SharedFile):
            self._source.require_read()

    def raw(self) -> Path | BinaryIO:
        """Return what another reader can open: the path, or the bytes with an independent position."""
        return self._source if isinstance(self._source, Path) else self._bytes()

    def _bytes(self) -> BinaryIO:
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source)
        assert not isinstance(self._source, Path)
        return self._source.open()

    @contextmanager
    def contents(self) -> Iterator[FileBytes]:
        """Open the bytes for reading by position."""
        with self._source.open("rb") if isinstance(self._source, Path) else self._bytes() as file:
            yield FileBytes(file)

    def _start(self) -> bytes:
        try:
            with self.contents() as file:
                return file.read(0, min(64, file.size))
        except OSError:
            return b""

    def _why_unreadable(self, error: Exception) -> str:
        if isinstance(self._source, Path) and not self._source.exists():
            return f"{self.name}: there is no such file any more"
        if isinstance(self._source, Path) and not os.access(self._source, os.R_OK):
            return f"{self.name}: no permission to read this file"
        start = self._start()
        if not start:
            return f"{self.name}: the file is empty (0 bytes)"
        for text, kind in _REFERRING.items():
            if start.lstrip(b"\xef\xbb\xbf \r\n").startswith(text):
                return f"{self.name}: not a video but {kind}, which is not followed; give the video file itself"
        if start[4:8] == b"ftyp":
            from endofm.video.movie_index import has_index

            with self.contents() as file:
                if has_index(file):
                    return (
                        f"{self.name}: the index of this MP4 or MOV file (its 'moov' part) is damaged; copy it again "
                        f"from the recorder or try a repair tool"
                    )
            return (
                f"{self.name}: this MP4 or MOV file has no index (its 'moov' part), as if the recording was cut off "
                f"before it was closed; copy it again from the recorder or try a repair tool"
            )
        detail = getattr(error, "strerror", None) or str(error)
        return (
            f"{self.name}: not a video that FFmpeg can read ({detail}). It may be damaged or another kind of file; "
            f"try to play it, or convert it to MP4"
        )


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the stream that is the video: never a cover picture, FFmpeg's choice if there are several.

    Raises:
        VideoError: If there is none, or its codec cannot be decoded.
    """
    candidates = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not candidates:
        if container.streams.audio:
            raise VideoError(f"{name}: the file has sound but no video in it")
        raise VideoError(f"{name}: there is no video in this file")
    # Typed as never None, but None for a codec that FFmpeg has no decoder for.
    decodable = [s for s in candidates if s.codec_context is not None]
    if not decodable:
        raise VideoError(
            f"{name}: FFmpeg has no decoder for the codec of this video; convert it to H.264 with the software that "
            f"made it"
        )
    best = container.streams.best("video")
    return next((s for s in decodable if best is not None and s.index == best.index), decodable[0])


@dataclass(frozen=True)
class Clock:
    """Clock of a video stream: the rule by which its frames get their times.

    Attributes:
        tick: Seconds per tick.
        frame_ticks: Ticks per frame at the nominal rate.
        source: ``"pts"``: the container stores presentation times. ``"dts"``: it does not, or only for some frames,
            but its decoding times are sound; frames take them in turn, in order of presentation. ``"count"``: it
            stores no times, frames follow at the nominal rate.
        may_jump: The clock may restart in the middle (MPEG transport and program streams that were joined).
        holds_after_jump: Frames get the same time stamps when decoding starts at a later key frame.
        latest: Time stamps beyond this one are ignored; None if the header states no length.
        rate: Frames per second as stated by header or bitstream, or averaged; None if unknown.
        may_pause: Gaps between frames are no damage: AVI has empty chunks for frames that the recorder dropped.
        is_rate_assumed: The times depend on a rate that is stated nowhere.
    """

    tick: Fraction
    frame_ticks: Fraction
    source: Literal["pts", "dts", "count"]
    may_jump: bool
    holds_after_jump: bool
    latest: int | None = None
    rate: Fraction | None = None
    may_pause: bool = False
    is_rate_assumed: bool = False

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream) -> Clock:
        """Return the clock of a stream, from the format, the codec and the header."""
        tick = stream.time_base or Fraction(1, 1000)
        flags = int(container.format.flags)
        source: Literal["pts", "dts", "count"] = "pts"
        if flags & cast(int, Flags.no_timestamps.value):
            source = "count"
        elif container.format.name in ("avi", "mpeg"):
            # AVI has no presentation times at all, program streams only some; those that libavformat invents for the
            # others are out of order in places, while the decoding times are not.
            source = "dts"
        stated = _stated_rate(stream, timed=source != "count")
        rate = stated or _FALLBACK_RATE
        if stated is None and container.format.name == "avi":
            # Its ticks are frames, of a length that cannot be right.
            tick = 1 / rate
        latest: int | None = None
        lengths = (announced_seconds(container, stream), (container.duration or 0) / 1_000_000)  # AV_TIME_BASE ticks.
        length = max(seconds or 0.0 for seconds in lengths)
        if length and container.format.name in _LENGTH_IN_HEADER:
            latest = (stream.start_time or 0) + round((length + _BEYOND_SECONDS) / tick)
        # On the decoding clock, a frame's time stamp depends on how long the decoder delays it. These codecs do not
        # specify the delay: after a jump it may differ.
        varying = stream.codec_context.codec.canonical_name in ("h264", "hevc", "vvc")
        return cls(
            tick=tick,
            frame_ticks=1 / (rate * tick),
            source=source,
            may_jump=bool(flags & cast(int, Flags.ts_discont.value)),
            holds_after_jump=source == "pts" or (source == "dts" and not varying),
            latest=latest,
            rate=stated,
            may_pause=container.format.name == "avi",
            is_rate_assumed=stated is None and (source == "count" or container.format.name == "avi"),
        )

    @property
    def step(self) -> int:
        """Ticks per frame, rounded to an integer >= 1."""
        return max(1, round(self.frame_ticks))

    def stored_stamp(self, item: Packet[VideoStream] | VideoFrame) -> int | None:
        """Return the time stamp of a packet or frame in ticks as the container stores it, plausible or not."""
        return None if self.source == "count" else item.pts if self.source == "pts" else item.dts

    def stamp(self, item: Packet[VideoStream] | VideoFrame) -> int | None:
        """Return the time stamp of a packet or frame in ticks; None if it has no plausible one."""
        stamp = self.stored_stamp(item)
        if stamp is None or (self.latest is not None and stamp > self.latest):
            return None
        if item.dts is not None and abs(stamp - item.dts) > max(_BEYOND_SECONDS / self.tick, 100 * self.step):
            # No codec delays a frame for so long.
            return None
        return stamp

    def leads(self, pts: int | None, key: int | None) -> bool:
        """Return whether a frame is shown before the key frame that precedes it in the file.

        Such a frame lacks the frames that it was predicted from. A key frame much later than the frames behind it has
        a damaged time stamp instead.
        """
        if pts is None or key is None:
            return False
        return 0 < key - pts <= _MOST_REORDERED * self.step

    def lasting(self, tick: int, duration: int | None) -> int:
        """Return the ticks for which the last frame, at ``tick``, stays on screen: one step if it does not say."""
        if not duration or self.seconds(duration) > LONGEST_FRAME_SECONDS:
            return self.step
        return duration if self.latest is None or tick + duration <= self.latest else self.step

    def seconds(self, ticks: int) -> float:
        """Convert a number of ticks."""
        return ticks * self.tick.numerator / self.tick.denominator


def _stated_rate(stream: VideoStream, *, timed: bool) -> Fraction | None:
    """Return the frames per second of a stream as they are stated; None for none, or an absurd number.

    Args:
        stream: The stream.
        timed: The container has time stamps; where it has not, the average is a default of libavformat.
    """
    rate = stream.average_rate if timed else stream.codec_context.framerate
    if timed and (not rate or (rate > _TICKING and rate * (stream.time_base or 0) == 1)):
        # One frame per tick of a fast clock (DV) is another default.
        rate = stream.guessed_rate
    slowest, fastest = (_SLOWEST, _FASTEST) if timed else (_SLOWEST_RAW, _FASTEST_RAW)
    return rate if rate and slowest <= rate <= fastest else None


@dataclass(frozen=True)
class Origin:
    """The frame at which time is zero.

    Attributes:
        tick: Its time stamp as it left the decoder.
        packet: Number of packets before the one that decoding started with.
    """

    tick: int
    packet: int


def announced_seconds(container: InputContainer, stream: VideoStream, start: float = 0.0) -> float | None:
    """Return the duration in seconds that the header states, or None.

    Args:
        container: The file.
        stream: Its video.
        start: Time of the first frame on the clock of the file, from which some containers count.
    """
    length = None
    # Matroska writes "00:01:02.345000000" into the metadata of each track.
    clock = stream.metadata.get("DURATION", "")
    if stream.duration and stream.time_base:
        length = float(stream.duration * stream.time_base)
    elif re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", clock):
        hours, minutes, seconds = clock.split(":")
        length = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    elif container.duration and len(container.streams) == 1:
        length = container.duration / 1_000_000  # AV_TIME_BASE ticks.
    if length is not None and start > 0 and container.format.name in _END_IN_HEADER and length > start:
        length -= start
    return length
