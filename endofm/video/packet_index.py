"""All frame times of a video file, from its packets, without decoding."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.video.clock import Clock, Origin
from endofm.video.container import Medium, video_stream
from endofm.video.damage import DamageLog
from endofm.video.frames import Float64Array
from endofm.video.packets import FrameFinder, read_packets

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """When frames appear and where decoding can start.

    Attributes:
        times: Seconds after the first frame at which frames appear, ascending, float64 ``(num_frames,)``.
        end: Time at which the last frame ends, in seconds.
        key_times: Seconds at which key frames appear, at the earliest; float64 ``(num_keys,)``, in order of the file.
        key_ordinals: Number of packets before each key frame, int64 ``(num_keys,)``.
    """

    times: Float64Array
    end: float
    key_times: Float64Array
    key_ordinals: Int64Array


def scan_packets(medium: Medium, clock: Clock, origin: Origin, damage: DamageLog) -> PacketIndex:
    """Read all packets of the video once.

    Args:
        medium: The file.
        clock: Of the video stream.
        origin: Where time begins; packets before it do not count.
        damage: Takes what could not be read.
    """
    stamps: list[int] = []
    durations: list[int] = []
    keys: list[tuple[int, int]] = []
    first_pts: int | None = None
    with medium.open() as container:
        stream = video_stream(container, medium.name)
        finder = FrameFinder(stream.codec_context)
        for ordinal, packet in enumerate(read_packets(container, stream, clock, damage)):
            if ordinal < origin.packet:
                continue
            if ordinal == origin.packet:
                first_pts = packet.pts
            stamp = clock.stamp(packet)
            shown = finder.shows_frame(packet)
            if stamp is None:
                stamp = stamps[-1] + clock.step if stamps else origin.tick
            if packet.is_keyframe and shown:
                keys.append((stamp, ordinal))
            # Leading frames of the first key frame lack what they were predicted from; they are never shown.
            leading = first_pts is not None and packet.pts is not None and packet.pts < first_pts
            early = clock.source == "pts" and stamp < origin.tick
            if shown and not leading and not early:
                stamps.append(stamp)
                durations.append(packet.duration or clock.step)
    if not stamps:  # The file changed since its first frame was decoded, or fails to be read now.
        stamps, durations = [origin.tick], [clock.step]
    ticks = np.array(stamps, np.int64)
    if clock.source == "dts":
        ticks, last_duration = _shown_in_turn(ticks, origin.tick, clock.step), clock.step
    else:
        order = np.argsort(ticks, kind="stable")
        ticks, last_duration = ticks[order], durations[order[-1]] if clock.source == "pts" else clock.step
    numerator, denominator = clock.tick.numerator, clock.tick.denominator
    return PacketIndex(
        times=(ticks - origin.tick) * numerator / denominator,
        end=clock.seconds(int(ticks[-1]) - origin.tick + last_duration),
        key_times=np.array([clock.seconds(stamp - origin.tick) for stamp, _ in keys], np.float64),
        key_ordinals=np.array([ordinal for _, ordinal in keys], np.int64),
    )


def _shown_in_turn(decoding_ticks: Int64Array, first: int, step: int) -> Int64Array:
    """Return when frames appear that take the decoding times in turn, as they leave the decoder.

    The first frame leaves the decoder some packets late, at ``first``; as many leave it after the last packet.
    """
    ticks = np.maximum.accumulate(decoding_ticks)
    late = int(np.searchsorted(ticks, first))
    return np.concatenate([ticks[late:], ticks[-1] + step * np.arange(1, late + 1)])


class LazyIndex:
    """The index of a file, made when it is first asked for; safe to ask from several threads."""

    def __init__(self, scan: Callable[[], PacketIndex]) -> None:
        self._scan, self._lock = scan, threading.Lock()
        self.known: PacketIndex | None = None

    def get(self) -> PacketIndex:
        """Return the index, reading the file for it the first time."""
        with self._lock:
            if self.known is None:
                self.known = self._scan()
        return self.known
