"""List windows of the real recordings whose licence allows training a packaged encoder.

``python recipes/endofm-nano-4x96/real_windows.py VIDEOS real.csv``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from endofm import open_video
from endofm.files import atomic_path

LICENSED = ("laparo_gallbladder.mp4", "laparo_dim.mp4", "phantom_bowel_robot.avi")
"""Recordings whose source repositories (RViMLab/endoscopy, luiscarlosgph/videosum) are under the MIT licence."""

LENGTH, STEP = 1.6, 0.8
"""Seconds; the rendered clips have 16 frames at 10 per second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    lines = ["path,label,start,end"]
    for name in LICENSED:
        path = (args.videos / name).resolve()
        with open_video(path) as video:
            last = video.end_seconds() - LENGTH
        lines += [f"{path},,{start:.1f},{start + LENGTH:.1f}" for start in np.arange(0, last + 1e-9, STEP)]
    with atomic_path(args.out) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{args.out}: {len(lines) - 1} windows")


if __name__ == "__main__":
    main()
