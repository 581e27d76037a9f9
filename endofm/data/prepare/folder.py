"""Any folder of videos, of folders of frames, or of both."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from endofm.data.prepare.recipe import SetRecipe
from endofm.data.prepare.sources import SourceItem, naturally, require_folder, walk
from endofm.errors import InputError


def find(root: Path) -> list[SourceItem]:
    """Return every video file and every folder of images below ``root``; each is a recording of its own."""
    videos, folders = walk(require_folder(root))
    items = {path: SourceItem(source=path, video=PurePosixPath(path).as_posix()) for path in (*videos, *folders)}
    if not items:
        raise InputError(f"{root}: there are no videos and no images in this folder or below it")
    return [items[path] for path in naturally(items)]


RECIPE = SetRecipe(
    name="folder",
    title="a folder of your own",
    find=find,
    layout="video files and folders of images, at any depth",
    license="yours",
    source="",
    obtain="nothing",
)
