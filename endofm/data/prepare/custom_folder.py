"""Any folder of videos, of folders of frames, or of both; and the videos below an address."""

from __future__ import annotations

from pathlib import Path

from endofm.address import Address
from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.sources import SourceItem, require_folder
from endofm.errors import InputError
from endofm.video.find import find_objects, find_recordings


def find(root: Path) -> SourceListing:
    """Return every recording below ``root``; what is left out is named."""
    found = find_recordings(require_folder(root))
    if not found.paths:
        raise InputError(found.describe_nothing(root))
    return SourceListing(
        tuple(SourceItem(source=path, video=path) for path in found.paths), dropped=tuple(found.left_out)
    )


def find_stored(address: Address) -> SourceListing:
    """Return every video below an address; what is left out is named."""
    found = find_objects(address)
    if found is None:
        raise InputError(f"{address}: there is nothing below this address; give the beginning of the videos' addresses")
    if not found.addresses:
        raise InputError(found.rest.describe_nothing(address))
    items = tuple(SourceItem(source=name, video=name) for name in found.addresses)
    return SourceListing(items, dropped=tuple(found.rest.left_out))


RECIPE = SetRecipe(
    name="folder",
    title="A folder of your own",
    find=find,
    find_stored=find_stored,
    license="yours",
    source="",
    obtain="nothing",
)
