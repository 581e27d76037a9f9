"""Time, memory and size of the report of an hour of video: ``python -m benchmarks.long_report [VIDEO] [OPTION...]``.

The video (the packaged demo by default) is repeated to an hour without being encoded again; further options are those
of ``endofm report``.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import av

from endofm import demo_video
from endofm.cli.main import main

HOUR = 3600


def repeat(video: Path, target: Path, seconds: float = HOUR) -> None:
    """Write a video several times in a row, packet by packet."""
    with av.open(str(target), "w") as out:
        stream, shift = None, 0
        while True:
            with av.open(str(video)) as source:
                track = source.streams.video[0]
                stream = stream or out.add_stream_from_template(track)
                end = 0
                for packet in source.demux(track):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    out.mux(packet)
                shift += end
                if shift * track.time_base >= seconds:
                    return


def measure(video: Path, options: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        hour = Path(folder) / f"hour{video.suffix}"
        repeat(video, hour)
        out = Path(folder) / "reports"
        wall, cpu = time.perf_counter(), time.process_time()
        status = main(["report", str(hour), "-o", str(out), "--quiet", *options])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        for page in out.glob("*.report.html"):
            print(f"{video.name} repeated to an hour, options {options or 'none'}")
            print(f"{wall:.0f} s wall, {cpu:.0f} s CPU, {page.stat().st_size / 1e6:.2f} MB")
            print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
        return status


if __name__ == "__main__":
    first = Path(sys.argv[1]) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
    sys.exit(measure(first or demo_video(), sys.argv[2 if first else 1 :]))
