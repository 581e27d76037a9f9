"""Command line of the probes: ``python -m studies.real endofm-nano-4x96 runs/mine/export -o probes.json``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from endofm._version import __version__
from endofm.errors import EndoFMError, InputError
from endofm.files import write_text
from studies.real.frozen import cached, make_frozen
from studies.real.probe_sets import PROBES
from studies.real.scores import score

CONTROLS = ("histogram", "thumbnail", "efficientnet-lite0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score encoders and controls; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m studies.real", description=__doc__.splitlines()[0])
    parser.add_argument(
        "encoders",
        nargs="*",
        metavar="ENCODER",
        help="weights as `from_pretrained` takes them, untrained:WEIGHTS[:SEED]",
    )
    parser.add_argument("--controls", nargs="*", default=CONTROLS, metavar="NAME", help=f"of {', '.join(CONTROLS)}")
    parser.add_argument("--probes", nargs="+", choices=PROBES, default=list(PROBES), help="default: all")
    parser.add_argument("--root", default=os.environ.get("ENDOFM_REAL"), help="folder of images (default: ENDOFM_REAL)")
    parser.add_argument("--frames", type=int, help="frames of a clip (default: those of the encoder)")
    parser.add_argument("--resamples", type=int, default=1000, help="for intervals (default: 1000)")
    parser.add_argument("--cache", type=Path, default=Path("runs/real-probes"), help="folder of kept embeddings")
    parser.add_argument("-o", "--out", type=Path, metavar="JSON", help="file to write")
    parser.add_argument("--append", action="store_true", help="keep the encoders that JSON already holds")
    args = parser.parse_args(arguments)
    if not args.root or not Path(args.root).is_dir():
        raise InputError("name the folder of real images with --root or the environment variable ENDOFM_REAL")
    results = _kept(args.out) if args.append and args.out is not None else {}
    specs = [*args.encoders, *args.controls]
    for name in args.probes:
        probe = PROBES[name](Path(args.root))
        for spec in specs:
            begun = time.process_time()
            frozen = make_frozen(spec, frames=args.frames)
            embeddings = cached(frozen, probe.pictures, patches=probe.patches, cache=args.cache)
            if embeddings is None:
                continue
            scores = score(probe, embeddings, args.resamples)
            results.setdefault(spec, {})[name] = {key: interval.to_dict() for key, interval in scores.items()}
            seconds = time.process_time() - begun
            print(f"{name:13} {spec:45} " + "  ".join(f"{k} {v}" for k, v in scores.items()) + f"  ({seconds:.0f} s)")
            sys.stdout.flush()
            if args.out is not None:
                text = {"endofm_version": __version__, "torch": torch.__version__, "probes": results}
                write_text(args.out, json.dumps(text, indent=1) + "\n")
    print("\n" + table(results))
    return 0


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the values as a Markdown table: a row per encoder, a column per score."""
    columns = list(dict.fromkeys((probe, key) for row in results.values() for probe in row for key in row[probe]))
    lines = ["| encoder | " + " | ".join(f"{probe} {key}" for probe, key in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for spec, row in results.items():
        cells = (row.get(probe, {}).get(key, {}).get("value") for probe, key in columns)
        lines.append(f"| {spec} | " + " | ".join("" if cell is None else f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)


def _kept(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["probes"] if path.is_file() else {}
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EndoFMError as error:
        sys.exit(f"studies.real: {error}")
