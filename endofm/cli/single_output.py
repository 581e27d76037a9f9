"""Results of one video in files that are named by the command, instead of a folder with a manifest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.address import Address
from endofm.cli.model_arguments import report_precision
from endofm.cli.printing import say

if TYPE_CHECKING:
    from endofm.cli.model_loader import ModelLoader
    from endofm.inference.job import ItemResult, Work
    from endofm.inference.video_paths import VideoItem

PAINTED = (".mp4", ".png")
"""Suffixes of painted outputs: of a video, and of a still."""


def single_outputs(
    args: argparse.Namespace, items: Sequence[VideoItem], suffixes: Sequence[str]
) -> tuple[Path | Address, ...]:
    """Return the output files of a command on one video; none if ``-o`` names a folder, to which ``args.out`` is set.

    Args:
        args: Arguments of :func:`configure_batch`.
        items: The videos.
        suffixes: Its ``single``.

    Raises:
        InputError: If files are named for several videos or mixed with folders, or a file exists without
            ``--overwrite``.
    """
    from endofm.errors import InputError
    from endofm.output_place import place_of

    files = tuple(out for out in args.out if out.suffix.lower() in suffixes and not out.is_dir())
    if not files and len(args.out) == 1:
        args.out = args.out[0]
        new = not args.out.exists() if isinstance(args.out, Path) else not args.out.url.endswith("/")
        if args.out.suffix and new:
            raise InputError(
                f"{args.out}: results are written as {', '.join(suffixes)}, or into a folder (a name without a suffix)"
            )
        return ()
    if len(files) < len(args.out):
        raise InputError(f"-o takes one folder, or files ({', '.join(suffixes)}); got {', '.join(map(str, args.out))}")
    if args.dry_run:
        raise InputError(f"--dry-run plans what goes into a folder; name one with -o instead of {files[0]}")
    if len(items) > 1:
        raise InputError(f"{files[0]}: {len(items)} videos cannot be written to one file; name a folder with -o")
    for file in files:
        if not args.overwrite and place_of(file.parent).existing_file(file.name):
            raise InputError(f"{file} exists already; pass --overwrite to replace it")
    return files


def require_still(files: Sequence[Path | Address], item: VideoItem) -> None:
    """Raise an error if a picture is to be painted of anything but a still, before work that would be lost.

    Raises:
        InputError: If one of the files is a ``.png`` and the item is no image file.
    """
    from endofm.errors import InputError
    from endofm.video.find import IMAGE_SUFFIXES

    pictures = [file for file in files if file.suffix.lower() == ".png"]
    if pictures and item.path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{pictures[0]}: a .png holds one picture, and {item.path} is no image file; use .mp4")


def run_single(
    args: argparse.Namespace, item: VideoItem, loader: ModelLoader, work: Work, files: tuple[Path | Address, ...]
) -> ItemResult:
    """Process one video into files of given names, without a manifest, and print notes about a damaged video.

    Args:
        args: Arguments of :func:`configure_batch`.
        item: The video.
        loader: Loader of the model.
        work: As for :func:`run_batch`.
        files: The files, as :func:`single_outputs` returns them.
    """
    from endofm.output_place import place_of
    from endofm.pool import cpu_threads

    report_precision(loader.load(), args)
    with cpu_threads(loader.threads), ExitStack() as stack:
        staged = [stack.enter_context(place_of(file.parent).staged([file.name])) for file in files]
        result = work(item, tuple(path for one in staged for path in one.paths))
        for one in staged:
            one.publish()
    for problem in result.problems:
        say(f"endofm: note: {item.path}: {problem}", error=True)
    return result
