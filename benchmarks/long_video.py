"""Peak memory of extracting features from a long 1080p file, above the loaded model.

A few seconds are rendered and encoded once; the long file repeats their packets, so that an hour of video is made in
seconds and no frame is missing.

    python benchmarks/long_video.py --minutes 60 --preset tiny
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

FPS = 25
SECONDS = 10

EXTRACT = """
import json, resource, sys, torch, warnings
warnings.simplefilter("ignore")
from endofm import EndoFM
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
model = EndoFM.from_pretrained(f"endofm-{sys.argv[2]}-8x224-random")
with torch.inference_mode():
    model(torch.zeros(int(sys.argv[3]), 3, 8, 224, 224))  # the model's own working memory belongs to the model
loaded = peak()
features = model.extract_features(sys.argv[1], batch_size=int(sys.argv[3]))
print(json.dumps({"clips": len(features), "end": float(features.end_seconds[-1]), "loaded": loaded, "peak": peak()}))
"""


def render(path: Path) -> None:
    """Write a short moving 1080p clip with one key frame per GOP of 250, as recorders do."""
    generator = np.random.default_rng(0)
    texture = generator.integers(40, 200, (1080 // 8, 1920 // 8 + FPS * SECONDS, 3), np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "g": "250", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for shift in range(FPS * SECONDS):
            image = texture[:, shift : shift + 1920 // 8].repeat(8, 0).repeat(8, 1)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60])
    parser.add_argument("--preset", default="tiny", choices=["tiny", "small", "base"])
    parser.add_argument("--batch-size", type=int, default=4)
    args = parser.parse_args()
    print("| minutes | clips | loaded model, MiB | above it at the peak, MiB |\n|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "short.mp4"
        render(short)
        for minutes in args.minutes:
            long = Path(folder) / f"{minutes}.mp4"
            repeat(short, long, max(round(minutes * 60 / SECONDS), 1))
            command = [sys.executable, "-c", EXTRACT, str(long), args.preset, str(args.batch_size)]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(result.stdout)
            above = found["peak"] - found["loaded"]
            print(f"| {minutes:g} | {found['clips']} | {found['loaded']:.0f} | {above:.0f} |", flush=True)
            long.unlink()


if __name__ == "__main__":
    main()
