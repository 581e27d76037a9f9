"""Video files for benchmarks: a few seconds are rendered and encoded once, longer files repeat their packets.

An hour of video takes seconds to write, every frame has its own time stamp, and no file is committed.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

FPS = 25
SECONDS = 10


def render(path: Path, *, height: int = 1080, width: int = 1920) -> None:
    """Write ``SECONDS`` of a moving texture as H.264 with one key frame per 250 frames, as recorders do."""
    generator = np.random.default_rng(0)
    texture = generator.integers(40, 200, (height // 8, width // 8 + FPS * SECONDS, 3), np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": "250", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for shift in range(FPS * SECONDS):
            image = texture[:, shift : shift + width // 8].repeat(8, 0).repeat(8, 1)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())


def repeat(short: Path, long: Path, times: int) -> None:
    """Write ``times`` copies of the packets of ``short``, one after the other."""
    with av.open(str(long), "w") as output:
        with av.open(str(short)) as source:
            stream = output.add_stream_from_template(source.streams.video[0])
        for turn in range(times):
            with av.open(str(short)) as source:
                base = source.streams.video[0].time_base
                assert base is not None
                offset = round(turn * SECONDS / base)
                for packet in source.demux(source.streams.video[0]):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.stream = stream
                    packet.pts += offset
                    packet.dts += offset
                    output.mux(packet)
