"""Peak memory of extracting features from a long 1080p file, above the loaded model.

python benchmarks/long_video.py --minutes 60 --preset tiny
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from footage import SECONDS, render, repeat

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
