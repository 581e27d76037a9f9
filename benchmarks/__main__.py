"""``python -m benchmarks COMMAND [options]``, from the repository's folder."""

from __future__ import annotations

import sys
from importlib import import_module

from endofm.errors import EndoFMError

COMMANDS = {
    "floors": "speed and memory of the package against floors and goals; fails if a floor is not met",
    "precisions": "every precision of every task against exact results; fails if one is slower",
    "attention": "compiled attention kernels against PyTorch's",
    "products": "prepacked and split float32 products against plain ones",
    "batches": "batches on the CPU: split, clip by clip, or all at once",
    "encoders": "every kind of encoder at its own size, beside the plain original",
    "one-pass": "several encoders in one pass over a video against one run for each",
    "scan": "EndoMamba's scan against a plain loop, and its live features",
    "pretraining-step": "a pre-training step against the plain loop",
    "growth": "how time and memory grow with the work, with fitted exponents and a figure",
    "gpu": "everything about a GPU, each part by itself, in less than eight minutes",
    "clip-dataset": "opening and iterating over a corpus of the published size",
    "picture-views": "views cut from held pictures, against decoding a picture for every view",
    "archive": "hours, disk and manifest of an archive of 100,000 recordings, from rates measured here",
    "library": "a library of a million clips: build, recall, latency, size, memory",
    "ray-engine": "the Ray engine against the plain one: overhead, balance, memory, restart after a kill",
    "frame-hashes": "distances of frame hashes between copies and other recordings",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit status."""
    name, *options = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name not in COMMANDS:
        width = max(map(len, COMMANDS))
        print("usage: python -m benchmarks COMMAND [options]\n")
        print("\n".join(f"  {command:<{width}}  {summary}" for command, summary in COMMANDS.items()))
        print("\n`python -m benchmarks COMMAND --help` lists the options of a command.")
        return 0 if name in ("-h", "--help") else 2
    status: int | None = import_module(f"benchmarks.{name.replace('-', '_')}").main(options)
    return status or 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EndoFMError as error:
        sys.exit(f"benchmarks: {error}")
