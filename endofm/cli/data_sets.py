"""``endofm data sets``: list the data sets that can be prepared and how to obtain them."""

from __future__ import annotations

import argparse

from endofm.cli.parser import offer_names

SUMMARY = "list the data sets that can be prepared: size, licence, how to obtain them"
EXAMPLES = (
    "endofm data sets",
    "endofm data sets kumc",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    offer_names(parser.add_argument("name", nargs="?", metavar="SET", help="show the details of one set"), set_names)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown, as in the documentation")


def set_names() -> list[str]:
    """Return the names of the sets."""
    from endofm.data.prepare.catalogue import SETS

    return list(SETS)


def run(args: argparse.Namespace) -> int:
    """Print the sets."""
    from endofm.data.prepare.catalogue import SETS, find_set

    if args.name is not None:
        recipe = find_set(args.name)
        print(f"{recipe.name}: {recipe.title}")
        counts = f"{recipe.clips:,} clips or videos, {recipe.frames:,} frames" if recipe.clips else ""
        for name, text in (
            ("from", recipe.source),
            ("to obtain", recipe.obtain),
            ("licence", recipe.license),
            ("reported", counts),
        ):
            if text:
                print(f"  {name}: {text}")
        for text in recipe.overlaps:
            print(f"  overlap: {text}")
        return 0
    if args.markdown:
        print("| set | name | clips | frames | licence | to obtain |\n|---|---|---:|---:|---|---|")
    for recipe in SETS.values():
        clips, frames = (f"{count:,}" if count else "" for count in (recipe.clips, recipe.frames))
        if args.markdown:
            link = f"[{recipe.title}]({recipe.name}.md)"
            print(f"| `{recipe.name}` | {link} | {clips} | {frames} | {recipe.license} | {recipe.obtain} |")
        else:
            print(f"{recipe.name:15} {clips:>6} {frames:>8}  {recipe.title}")
    return 0
