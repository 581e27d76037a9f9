"""Any folder of videos, of folders of frames, or of both."""

from __future__ import annotations

from pathlib import Path

from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.sources import SourceItem, require_folder
from endofm.errors import InputError
from endofm.video.find import naturally, walk


def find(root: Path) -> SourceListing:
    """Return every video file and every folder of images below ``root``; each is one recording."""
    videos, folders = walk(require_folder(root))
    if not videos and not folders:
        raise InputError(f"{root}: there are no videos and no images in this folder or below it")
    return SourceListing(tuple(SourceItem(source=path, video=path) for path in naturally([*videos, *folders])))


RECIPE = SetRecipe(
    name="folder",
    title="A folder of your own",
    find=find,
    license="yours",
    source="",
    obtain="nothing",
)
