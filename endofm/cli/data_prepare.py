"""``endofm data prepare``: turn a data set that the user has obtained into clips with a manifest."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endofm.data.prepare.clip_format import ClipFormat
    from endofm.data.prepare.set_recipe import SetRecipe, SourceListing

from endofm.cli.batch import print_left_out
from endofm.cli.data_sets import set_names
from endofm.cli.engine_arguments import check_engine, configure_engine, make_engine
from endofm.cli.parser import offer_names
from endofm.cli.printing import say

SUMMARY = "turn a data set that you have obtained into clips, lists and a manifest (downloads nothing)"
EXAMPLES = (
    "endofm data prepare folder recordings/ prepared/ --dry-run",
    "endofm data prepare kumc PolypsSet/ prepared-kumc/",
    "endofm data prepare stills Kvasir-SEG/ prepared-stills/ --clips-per-still 2",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    known = parser.add_argument(
        "set",
        metavar="SET",
        help="name of the data set, `folder` for any folder of videos or frames, or `stills` for labelled images",
    )
    offer_names(known, set_names)
    parser.add_argument(
        "source",
        metavar="SRC",
        help="folder that the set was unpacked into; of stills also a list, of `folder` an address (s3://archive/videos)",
    )
    parser.add_argument("out", metavar="OUT", help="folder for the prepared set; an interrupted run resumes there")
    configure_engine(parser, jobs="number of processes (default: one per processor)")
    parser.add_argument("--limit", type=int, metavar="N", help="prepare only the first N sources")
    parser.add_argument("--clip-frames", type=int, metavar="N", help="frames per clip (default: 150; 16 of stills)")
    parser.add_argument("--short-side", type=int, metavar="PIXELS", help="shorter side of the clips (default: 256)")
    parser.add_argument("--overwrite", action="store_true", help="remove the clips of an earlier run and start over")
    parser.add_argument("--dry-run", action="store_true", help="list the sources, and what they would take")
    _configure_stills(parser.add_argument_group("stills: layout and virtual camera"))


def _configure_stills(group: argparse._ArgumentGroup) -> None:
    # No defaults here: they are those of the settings, and an option that another set ignores is refused.
    group.add_argument("--layout", metavar="NAME", help="masks, coco, voc, list or classes (default: recognised)")
    group.add_argument("--clips-per-still", type=int, metavar="N", help="clips of each still (default: 1)")
    group.add_argument("--seed", type=int, metavar="N", help="seed of the paths (default: 0)")
    group.add_argument(
        "--zoom", type=float, nargs=2, metavar=("LOW", "HIGH"), help="side of the view, 1 for the largest (0.6 1.0)"
    )
    group.add_argument("--rotation", type=float, metavar="DEGREES", help="largest turn to either side (default: 15)")
    group.add_argument("--motion", type=float, metavar="SHARE", help="travel within a clip, 0 to 1 (default: 0.5)")
    group.add_argument("--gain", type=float, metavar="SHARE", help="largest change of brightness (default: 0.1)")
    group.add_argument("--object-label", metavar="NAME", help="class of the boxes around masks (default: polyp)")


def run(args: argparse.Namespace) -> int:
    """Prepare the set; the status is 1 if something could not be read."""
    from endofm.data.prepare.preparation import PROBLEMS_NAME, plan, prepare
    from endofm.errors import InputError, visible
    from endofm.pool import usable_processors

    check_engine(args)
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1, got {args.limit}")
    if args.engine == "local" and args.jobs is None:
        args.jobs = usable_processors()
    recipe = _recipe(args)
    if args.dry_run:
        listing = plan(recipe, args.source, args.limit)
        for item in listing.items:
            print("\t".join(map(visible, (item.source, item.video, item.patient, item.label, item.split))))
        for name, text in (*listing.problems, *listing.dropped):
            say(f"{name}: {text}", error=True)
        _print_estimate(recipe, listing, args)
        return int(bool(listing.problems))
    report = prepare(
        recipe,
        args.source,
        args.out,
        clip_format=_clip_format(recipe, args),
        engine=make_engine(args, inside=False),
        limit=args.limit,
        overwrite=args.overwrite,
    )
    expected = f" (published: {report.expected_clips:,})" if report.expected_clips else ""
    print(f"{args.out}: {report.clips:,} clips{expected}, {report.frames:,} frames from {report.sources:,} sources")
    for name, text in report.problems[:20]:
        say(f"{name}: {text}", error=True)
    print_left_out(report.dropped, f"{args.out}/{PROBLEMS_NAME}")
    if report.problems:
        print(f"{len(report.problems)} problems, listed in {args.out}/{PROBLEMS_NAME}", file=sys.stderr)
    return int(bool(report.problems))


def _print_estimate(recipe: SetRecipe, listing: SourceListing, args: argparse.Namespace) -> None:
    """Print what the preparation would take on the standard error: the other stream is a table."""
    from endofm.address import located
    from endofm.data.prepare.estimate import estimate_preparation
    from endofm.files import free_bytes
    from endofm.pool import usable_processors

    estimate = estimate_preparation(recipe, located(args.source), listing.items, _clip_format(recipe, args))
    for line in estimate.lines(args.jobs or usable_processors(), free_bytes(args.out)) if estimate else ():
        say(line, error=True)


def _clip_format(recipe: SetRecipe, args: argparse.Namespace) -> ClipFormat:
    return replace(recipe.clip_format, **_given(args, "clip_frames", "short_side"))


def _recipe(args: argparse.Namespace) -> SetRecipe:
    from endofm.data.prepare.catalogue import find_set
    from endofm.data.prepare.stills import StillsSettings, stills_recipe
    from endofm.data.stills.virtual_camera import CameraConfig
    from endofm.errors import InputError

    camera = _given(args, "rotation", "motion", "gain")
    if args.zoom is not None:
        camera["zoom"] = tuple(args.zoom)
    further = _given(args, "layout", "clips_per_still", "seed", "object_label")
    if args.set == "stills":
        return stills_recipe(StillsSettings(**further, camera=CameraConfig(**camera)))
    if camera or further:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in (*further, *camera))
        raise InputError(f"{options}: only `endofm data prepare stills` has a virtual camera; drop it for {args.set}")
    return find_set(args.set)


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}
