"""Any folder of videos, of folders of frames, or of both."""

from __future__ import annotations

from pathlib import Path

from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.sources import SourceItem, require_folder
from endofm.errors import InputError
from endofm.video.find import find_recordings


def find(root: Path) -> SourceListing:
    """Return every recording below ``root``; what is left out is named."""
    found = find_recordings(require_folder(root))
    if not found.paths:
        raise InputError(found.describe_nothing(root))
    return SourceListing(
        tuple(SourceItem(source=path, video=path) for path in found.paths), dropped=tuple(found.left_out)
    )


RECIPE = SetRecipe(
    name="folder",
    title="A folder of your own",
    find=find,
    license="yours",
    source="",
    obtain="nothing",
)
