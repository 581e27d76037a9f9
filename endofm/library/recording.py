"""Recordings of a library: where their features and videos are, whose they are, and how they are recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endofm.address import Address, full_name, is_address
from endofm.errors import InputError, quoted
from endofm.tasks.features.results import VideoFeatures


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording of a library.

    Attributes:
        id: Number of the recording, which its clips carry.
        name: Name of the video, relative to the folder that was extracted.
        features: Feature file, as an absolute path or an address.
        media: Video, as an absolute path or an address; empty if it is not known.
        set: Name of the set that it was added with.
        patient: Patient; empty if unknown.
        clips: Number of clips.
        seconds: End of the last clip.
        size_bytes: Size of the feature file when it was added.
        modified: Time of that file's last change in nanoseconds.
        content: Checksum of embeddings and times.
        description: Checksum of set, patient and labels.
        video_bytes: Size of the video as its features state it; -1 if they do not.
    """

    id: int
    name: str
    features: str
    media: str
    set: str
    patient: str
    clips: int
    seconds: float
    size_bytes: int
    modified: int
    content: str
    description: str
    video_bytes: int

    def media_file(self, folders: Sequence[str | Path] = ()) -> Path | None:
        """Return the video, None if it is not there or in object storage.

        Args:
            folders: Folders that hold the videos under their names, for a library that was moved.
        """
        places = [Path(self.media)] if self.media and not is_address(self.media) else []
        places += [Path(folder) / self.name for folder in folders]
        return next((place for place in places if place.exists()), None)

    def media_address(self) -> Address | None:
        """Return the address of a video in object storage, None for other videos."""
        return Address(self.media) if is_address(self.media) else None

    def is_same_video(self, video: Mapping[str, Any]) -> bool:
        """Return whether the description of a video in the provenance of features is that of this recording.

        Name, size and length agree: copies in other folders are one recording, for a search that leaves it out.
        """
        end = float(video.get("end_seconds") or -1.0)
        return (
            self.video_bytes >= 0
            and (self.video_bytes, Path(self.name).name)
            == (
                video.get("size_bytes"),
                Path(str(video.get("name"))).name,
            )
            and abs(end - self.seconds) < max(1.0, 0.05 * end)
        )


def content_sum(features: VideoFeatures) -> str:
    """Return a checksum of embeddings and times, by which features that were copied are recognised."""
    digest = hashlib.sha256()
    for array in (features.embeddings, features.start_seconds, features.end_seconds):
        digest.update(array.tobytes())
    return digest.hexdigest()


def library_settings(features: VideoFeatures, source: object) -> dict[str, Any]:
    """Return what the features of one library have in common, as plain JSON values.

    Args:
        features: Features of one video.
        source: Their file, for the message.

    Raises:
        InputError: If they do not state the weights that they come from.
    """
    stated = features.provenance
    weights = stated.get("weights")
    if not isinstance(weights, Mapping) or not weights:
        raise InputError(
            f"{source}: these features do not state their weights, so that they cannot be compared with others; "
            "extract them with endofm"
        )
    config = weights.get("config") or {}
    return {
        "weights": config.get("name") or weights.get("source") or "",
        "weights_sha256": weights.get("sha256", ""),
        "trained": config.get("trained", True),
        "embed_dim": features.embed_dim,
        "preprocess": stated.get("preprocess"),
        "windows": stated.get("windows"),
        "precision": stated.get("precision"),
    }


def find_recording(recordings: Sequence[Recording], name: str) -> Recording | None:
    """Return the recording of a name or path; None if there is none.

    Args:
        recordings: Recordings of a library.
        name: Path of the video or of the feature file, or the name that the library shows.

    Raises:
        InputError: If several have this name.
    """
    path = full_name(name)
    found = [one for one in recordings if path in (one.media, one.features)] or [
        one for one in recordings if name == one.name
    ]
    if len(found) > 1:
        places = ", ".join(one.media or one.features for one in found[:3])
        raise InputError(f"{quoted(name)} is the name of {len(found)} recordings ({places}); give the path of one")
    return found[0] if found else None
