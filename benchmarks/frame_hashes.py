"""Separation of copies from other recordings by the hashes of ``endofm data check``, and the cost of the search.

Renders recordings of several patients; with ``--videos`` real ones of a folder are added. Each frame is compared with
itself scaled to 70 % and coded as a poor JPEG, and with the frames of all other recordings, over all of which the same
bright panel is laid at the left. Then a corpus of random hashes is searched for planted copies.

    python -m benchmarks frame-hashes --patients 20 --clips 33000
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from endofm.data.perceptual_hashes import HASH_BITS, MATCH_BITS, ClipHashes, differing_bits, frame_hash, pack_hashes
from endofm.data.similar_clips import find_similar
from endofm.synthetic.population import draw_clip, draw_patient
from endofm.synthetic.render import render_clip
from endofm.synthetic.specs import RenderConfig
from endofm.video.find import walk
from endofm.video.frames import UInt8Array
from endofm.video.open import open_video


def rendered(patients: int) -> list[list[UInt8Array]]:
    """Return a recording of 8 frames of each of some patients."""
    config = RenderConfig(width=256, height=208, num_frames=8, fps=2.0, seed=5)
    return [
        list(render_clip(draw_clip(config, draw_patient(config.seed, i), 0, has_polyp=i % 2 == 0)).frames)
        for i in range(patients)
    ]


def recorded(folder: Path) -> list[list[UInt8Array]]:
    """Return 16 frames, spread evenly, of every video of a folder."""
    found = []
    for name in walk(folder).videos:
        with open_video(folder / name) as video:
            times = np.linspace(0, video.end_seconds(), 16, endpoint=False)
            found.append([frame.data for frame in video.sample(times)])
    return found


def with_panel(frame: UInt8Array) -> UInt8Array:
    """Return a frame whose left tenth is the panel that all recordings share."""
    frame = frame.copy()
    width = frame.shape[1] // 10
    frame[:, :width] = 20
    frame[:: max(frame.shape[0] // 16, 1), : width * 2 // 3] = 220
    return frame


def poor_copy(frame: UInt8Array) -> UInt8Array:
    """Return a frame at 70 % of its size, after a JPEG of quality 30."""
    height, width = frame.shape[:2]
    small = Image.fromarray(frame).resize((round(width * 0.7), round(height * 0.7)), Image.Resampling.BICUBIC)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=30)
    return np.asarray(Image.open(data))


def show(name: str, bits: npt.NDArray[np.uint16], shares: tuple[float, ...]) -> None:
    values = ", ".join(f"{share:.2%}: {np.quantile(bits, share):.0f}" for share in shares)
    print(f"{name}: {bits.size:,} pairs, differing bits of {HASH_BITS} by share of pairs: {values}")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks frame-hashes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--videos", type=Path, help="folder of real recordings")
    parser.add_argument("--clips", type=int, default=33_000, help="size of the searched corpus")
    args = parser.parse_args(arguments)
    recordings = rendered(args.patients) + ([] if args.videos is None else recorded(args.videos))
    frames = [(place, with_panel(frame)) for place, recording in enumerate(recordings) for frame in recording]
    owner = np.array([place for place, _ in frames])
    own = pack_hashes([frame_hash(frame) for _, frame in frames])
    copies = pack_hashes([frame_hash(poor_copy(frame)) for _, frame in frames])
    print(f"{len(recordings)} recordings, {len(frames)} frames; up to {MATCH_BITS} differing bits count as the same")
    show("copies", differing_bits(own, copies), (0.5, 0.95, 0.999, 1.0))
    between = differing_bits(own[:, None], own[None])[owner[:, None] < owner[None]]
    show("other recordings", between, (0.0, 0.0001, 0.01, 0.5))
    rng = np.random.default_rng(0)
    per_clip, planted = 31, args.clips // 100
    hashes = rng.integers(0, 2**64, (args.clips, per_clip, 2), dtype=np.uint64)
    hashes[:planted] = hashes[args.clips - planted :] ^ np.uint64(0b10010001)
    corpus = ClipHashes(hashes.reshape(-1, 2), np.arange(1, args.clips + 1) * per_clip)
    start = time.perf_counter()
    found = find_similar(corpus, [str(place // 5) for place in range(args.clips)])
    seconds = time.perf_counter() - start
    print(f"{len(found)} of {planted} planted copies found among {args.clips:,} clips in {seconds:.1f} s")
