"""Published folder layouts as rules: a pattern of the path, and the meaning of its parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from endofm.data.prepare.set_recipe import SourceListing
from endofm.data.prepare.sources import SourceItem, require_folder
from endofm.errors import InputError
from endofm.video.find import natural_key, walk


@dataclass(frozen=True, kw_only=True)
class LayoutRule:
    """One kind of source of a set.

    Attributes:
        kind: Video files, or folders of images.
        pattern: Case-insensitive regular expression of the last components of the path below the set's folder. Its
            named groups can be used in ``fields``.
        fields: ``video``, ``patient``, ``label`` and ``split`` of :class:`SourceItem`, as format strings over the
            groups. ``video`` is the path if it is not given.
        fps: Rate of the frames of folders, None if unknown.
    """

    kind: Literal["video", "frames"]
    pattern: str
    fields: Mapping[str, str] = field(default_factory=dict)
    fps: float | None = None

    def item(self, path: str) -> SourceItem | None:
        """Return the source at a path, or None if the rule does not match."""
        # Users unpack archives into folders of their choice: anything may precede the published part of the path.
        match = re.fullmatch(rf"(?:.*/)?{self.pattern}", path, re.IGNORECASE)
        if match is None:
            return None
        groups = {name: value or "" for name, value in match.groupdict().items()}
        values = {name: text.format(**groups) for name, text in self.fields.items()}
        return SourceItem(
            source=path,
            video=values.get("video", path),
            patient=values.get("patient", ""),
            label=values.get("label", ""),
            split=values.get("split", ""),
            fps=self.fps,
        )


def find_by_rules(root: Path, rules: Sequence[LayoutRule], layout: str) -> SourceListing:
    """Return the sources below ``root`` that a set's rules match.

    Args:
        root: Folder that the set was unpacked into, or one above it.
        rules: Rules; a path belongs to the first one that matches.
        layout: Description of the layout, for the message if nothing matches.

    Raises:
        InputError: If the folder is missing or nothing in it matches.
    """
    tree = walk(require_folder(root))
    items: list[SourceItem] = []
    others: list[str] = []
    for kind, paths in (("video", tree.videos), ("frames", tree.folders)):
        for path in paths:
            candidates = (rule.item(path) for rule in rules if rule.kind == kind)
            match = next((item for item in candidates if item is not None), None)
            if match is not None:
                items.append(match)
            # Folders of images besides the frames (masks, thumbnails, figures) are common and not worth a note.
            elif kind == "video":
                others.append(path)
    if not items:
        raise InputError(f"{root}: this folder does not have the published layout; expected {layout}")
    items.sort(key=lambda item: natural_key(item.source))
    dropped = [(path, "is not part of the published layout") for path in others]
    return SourceListing(tuple(items), problems=tuple(tree.closed), dropped=tuple(dropped))
