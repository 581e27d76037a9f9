"""Copying the sound of a video to another file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from endofm.video.container import MediaSource

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Sampling rates that AAC knows (ISO/IEC 14496-3, table 1.18)."""


class Sound:
    """Sound tracks of one file, written to another in step with the pictures.

    Packets are copied unchanged where the other container can hold their codec, and are otherwise re-encoded as AAC.
    One packet is held in memory, however long the file is. Use it as a context manager.

    Args:
        medium: File to take the sound from.
        target: Container to write to, still without packets.
        start_seconds: The target's time zero on the clock of the file, in seconds.
        note: Called with a sentence about sound that is lost.

    Attributes:
        tracks: Number of sound tracks that are written.
    """

    def __init__(
        self, medium: MediaSource, target: OutputContainer, start_seconds: float, note: Callable[[str], None]
    ) -> None:
        self._target, self._start, self._note = target, start_seconds, note
        self._container = medium.open()
        try:
            self._tracks: dict[int, _Copied | _Recoded] = {}
            streams = self._container.streams.audio
            # Typed as never None, but None for a codec that FFmpeg has no decoder for.
            known = [stream for stream in streams if stream.codec_context is not None]
            if len(known) < len(streams):
                note("a sound track whose codec FFmpeg does not know was left out")
            for stream in known:
                self._tracks[stream.index] = _track(stream, target)
            self.tracks = len(self._tracks)
            self._packets = self._read()
            self._held: Packet[AudioStream] | None = next(self._packets, None)
        except BaseException:
            self._container.close()
            raise

    def write_until(self, seconds: float) -> None:
        """Write the sound up to a time, in seconds after the first frame."""
        while self._held is not None and self._seconds(self._held) <= seconds:
            self._write(self._held)
            self._held = next(self._packets, None)

    def finish(self) -> None:
        """Write the rest."""
        self.write_until(float("inf"))
        for track in self._tracks.values():
            self._target.mux(track.finish())

    def _read(self) -> Iterator[Packet[AudioStream]]:
        streams = [stream for stream in self._container.streams.audio if stream.index in self._tracks]
        if not streams:
            return
        try:
            for packet in self._container.demux(streams):
                if packet.size and packet.dts is not None:
                    yield cast("Packet[AudioStream]", packet)
        except (av.FFmpegError, OSError):
            self._note("the sound is damaged or cut off: parts of it could not be read")

    def _seconds(self, packet: Packet[AudioStream]) -> float:
        assert packet.dts is not None
        return float(packet.dts * packet.time_base) - self._start

    def _write(self, packet: Packet[AudioStream]) -> None:
        try:
            self._target.mux(self._tracks[packet.stream.index].convert(packet, self._start))
        except av.FFmpegError:
            self._note("the sound is damaged: parts of it could not be carried over")

    def __enter__(self) -> Sound:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._packets = iter(())
        self._held = None
        self._container.close()


def _track(stream: AudioStream, target: OutputContainer) -> _Copied | _Recoded:
    try:
        return _Copied(target.add_stream_from_template(stream))
    except ValueError:
        # The container cannot hold this codec.
        return _Recoded(stream, target)


class _Copied:
    """A track whose packets are copied, shifted to the target's time zero."""

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream

    def convert(self, packet: Packet[AudioStream], start: float) -> list[Packet[AudioStream]]:
        shift = round(start / packet.time_base)
        assert packet.dts is not None
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        packet.stream = self._stream
        return [packet]

    def finish(self) -> list[Packet[AudioStream]]:
        return []


class _Recoded:
    """A track that is decoded, resampled and encoded as AAC."""

    def __init__(self, source: AudioStream, target: OutputContainer) -> None:
        rate = next((r for r in _AAC_RATES if r <= source.rate), _AAC_RATES[-1])
        self._stream = target.add_stream("aac", rate=rate)
        layout = "mono" if source.channels == 1 else "stereo"
        self._stream.layout = layout
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=1024)
        self._first: int | None = None
        self._count, self._rate = 0, rate

    def convert(self, packet: Packet[AudioStream], start: float) -> list[Packet[AudioStream]]:
        out: list[Packet[AudioStream]] = []
        for frame in packet.stream.decode(packet):
            if self._first is None:
                # From here on, time is a count of samples: rounding in the source's clock would open gaps.
                self._first = round(((frame.time or 0.0) - start) * self._rate)
            frame.pts = None
            out += self._encode(self._resampler.resample(frame))
        return out

    def finish(self) -> list[Packet[AudioStream]]:
        if self._first is None:
            return []
        return [*self._encode(self._resampler.resample(None)), *self._stream.encode(None)]

    def _encode(self, frames: list[AudioFrame]) -> list[Packet[AudioStream]]:
        out: list[Packet[AudioStream]] = []
        assert self._first is not None
        for frame in frames:
            frame.pts, frame.time_base = self._first + self._count, Fraction(1, self._rate)
            self._count += frame.samples
            out += self._stream.encode(frame)
        return out
