"""``endofm search``: the moments of a library that look most like another."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.model_arguments import configure_media
from endofm.cli.printing import say

SUMMARY = "find the moments in a library that look like a moment, an image or a feature file"
EXAMPLES = (
    "endofm search archive.lance --like procedure.mp4@03:20",
    "endofm search archive.lance --like still.jpg -k 50 --set 2026 -o hits.csv --plot hits.png",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("library", type=Path, metavar="LIBRARY", help="folder of the library")
    parser.add_argument(
        "--like",
        required=True,
        metavar="WHAT",
        help="VIDEO@MM:SS (a file, or a recording of the library), an image, or a feature file, with or without @MM:SS",
    )
    parser.add_argument("-k", type=int, default=20, metavar="N", help="number of moments (default: 20)")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the hits to a file (.csv, .json)")
    parser.set_defaults(file_outputs=(".csv", ".json"))
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the hits with thumbnails (.png, .svg, .pdf)")
    configure_media(parser)
    parser.add_argument("--weights", help="weights for the query (default: by the name that the library states)")
    filters = parser.add_argument_group("filters")
    filters.add_argument("--set", metavar="NAME", help="recordings of this set")
    filters.add_argument("--patient", metavar="NAME", help="recordings of this patient")
    filters.add_argument("--label", metavar="NAME", help="clips with this label")
    filters.add_argument(
        "--between", metavar="START-END", help="clips between two times of their recordings, such as 02:00-05:30"
    )
    filters.add_argument(
        "--same-recording", action="store_true", help="also find moments of the recording that is searched for"
    )
    parser.add_argument("--exact", action="store_true", help="compare every clip, even where there is an index")


def run(args: argparse.Namespace) -> int:
    """Search, print the hits and write the files."""
    from endofm.errors import InputError, require_extra
    from endofm.library.feature_library import FeatureLibrary
    from endofm.library.hits import SUFFIXES
    from endofm.library.query import parse_span

    if args.out is not None and args.out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{args.out}: hits are saved as {' or '.join(SUFFIXES)}")
    if args.plot is not None:
        require_extra("matplotlib", "viz", "Drawing hits (--plot)")
    library = FeatureLibrary(args.library, weights=args.weights)
    hits = library.search(
        args.like,
        args.k,
        set=args.set,
        patient=args.patient,
        label=args.label,
        between=None if args.between is None else parse_span(args.between),
        same_recording=args.same_recording,
        exact=args.exact,
    )
    for number, (hit, start) in enumerate(zip(hits, hits.starts(), strict=True), 1):
        label = f"  [{hit.label}]" if hit.label else ""
        say(f"{number:>3}  {hit.recording.name}@{start}{label}  {hit.describe()}")
    if not hits:
        print("Nothing found: no clip meets the filters.")
    if hits.untrained:
        print("The weights are random: scores mean nothing.")
    if args.out is not None:
        hits.save(args.out)
    if args.plot is not None and hits:
        from endofm.library.hit_sheet import plot_hits

        plot_hits(hits, args.plot, media=args.media)
    return 0
