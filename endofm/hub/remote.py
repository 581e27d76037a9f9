"""Files of the Hugging Face hub: cached, pinned to a commit, verified, and downloaded again if damaged.

The cache is that of huggingface_hub, in its layout, so that its tools and other programs see the same files. Its
functions provide addresses, metadata, transfer and links. This module adds that interrupted transfers resume, and that
every file is compared with its checksum before use, even one from the cache.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import HfFileMetadata, repo_folder_name
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported without __all__

from endofm._version import __version__
from endofm.errors import (
    ChecksumError,
    DownloadError,
    EndoFMError,
    EndoFMWarning,
    InputError,
    WeightsNotFoundError,
    cause,
    quoted,
)
from endofm.files import write_text
from endofm.hub.download import (
    LARGEST_BYTES,
    DownloadOptions,
    backoff,
    fetch,
    file_lock,
    is_local,
    is_transient,
    matches_etag,
    status_code,
)
from endofm.hub.transfer import NETWORK_ERRORS, UnacceptableAnswerError, watched

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA256_DIGITS = 64
_ATTEMPTS = 4
_METADATA_SECONDS = 30.0


@dataclass(frozen=True)
class HubFile:
    """A verified file in the cache.

    Attributes:
        path: Path in the cache.
        commit: Commit of the repository that it belongs to.
        sha256: Its sha256 if the hub states it (it does for large files), empty otherwise.
    """

    path: Path
    commit: str
    sha256: str = ""


def hub_file(repo_id: str, filename: str, *, revision: str = "", options: DownloadOptions) -> HubFile:
    """Return a file of a model repository, from the cache or the hub.

    A commit that is in the cache is used without a request. A branch or tag is resolved by the hub; if the hub cannot
    be reached, the commit that it last resolved to is used, with a warning.

    Args:
        repo_id: ``owner/name``.
        filename: Path of the file in the repository.
        revision: Branch, tag or full commit hash; the main branch by default.
        options: Cache and network.

    Raises:
        WeightsNotFoundError: If the repository, revision or file does not exist, or is not in the cache while offline.
        DownloadError: If it exists but could not be downloaded.
        ChecksumError: If the download, or the cached file while offline, is damaged.
        InputError: If the repository's name is not valid.
    """
    revision = revision or constants.DEFAULT_REVISION
    # The name of a branch is that of a file in the cache.
    if any(part in ("", ".", "..") for part in revision.split("/")):
        raise InputError(f"{repo_id}: {quoted(revision)} is not the name of a branch, tag or commit")
    try:
        cached = None if options.force_download else _cached(repo_id, filename, revision, options)
        # A cached file's checksum is the name of its blob. Systems without links have no blobs; there the hub is asked.
        # A full commit hash never changes its content, so that a verified copy needs no request.
        settled = options.offline or (cached and cached.path.is_symlink() and _COMMIT.fullmatch(revision))
        if cached and settled and _is_intact(cached.path):
            return cached
        if options.offline:
            raise _offline_error(repo_id, filename, revision, cached)
        try:
            # With a copy to fall back on, one attempt is enough; a slow hub should not delay every start.
            metadata = _metadata(repo_id, filename, revision, options, attempts=1 if cached else _ATTEMPTS)
        except NETWORK_ERRORS as error:
            # A refusal (no access, no such revision) is an answer and must not be hidden by the cached copy.
            refused = isinstance(error, HfHubHTTPError) and not is_transient(error)
            if cached and not refused and _is_intact(cached.path):
                warnings.warn(
                    f"{constants.ENDPOINT} could not be reached; using {repo_id} at {cached.commit}, the commit that "
                    f"{quoted(revision)} last resolved to",
                    EndoFMWarning,
                    stacklevel=2,
                )
                return cached
            raise
        commit, etag = str(metadata.commit_hash), str(metadata.etag)
        if not options.force_download:
            # The branch may have moved to a commit that is in the cache under its hash.
            cached = _cached(repo_id, filename, commit, options)
            if cached and matches_etag(cached.path, etag):
                return replace(cached, sha256=_sha256(etag))
        return _download(repo_id, filename, revision, metadata, options)
    except HFValidationError as error:
        raise InputError(f"{quoted(repo_id)} is not the name of a hub repository: {error}") from error
    except EndoFMError:
        raise
    except NETWORK_ERRORS as error:
        raise hub_error(error, repo_id, revision=revision, filename=filename) from error


def hub_error(error: BaseException, repo_id: str, *, revision: str = "main", filename: str = "") -> EndoFMError:
    """Return the error of this package for one of huggingface_hub or the network, with the next step."""
    host = constants.ENDPOINT
    login = "If it is private, log in with `hf auth login` or pass token=."
    if isinstance(error, GatedRepoError):
        return DownloadError(
            f"access to {repo_id} has to be requested: open {host}/{repo_id} in a browser, then log in with "
            "`hf auth login` or pass token="
        )
    if isinstance(error, RepositoryNotFoundError):
        return WeightsNotFoundError(f"there is no repository {repo_id} on {host} (or no access to it). {login}")
    if isinstance(error, RevisionNotFoundError):
        return WeightsNotFoundError(f"{repo_id} has no revision {quoted(revision)}; see {host}/{repo_id}/commits/main")
    # LocalEntryNotFoundError is an EntryNotFoundError without an answer of the hub; it is a network error.
    if isinstance(error, EntryNotFoundError) and isinstance(error, HfHubHTTPError):
        return WeightsNotFoundError(
            f"{repo_id} has no file {filename} at revision {quoted(revision)}, so it does not hold weights of this "
            "package. Published checkpoints are read with `endofm convert`."
        )
    if is_local(error):
        return DownloadError(f"a file of this machine cannot be read or written for {repo_id}: {error}")
    status = status_code(error)
    if status in (401, 403):
        return DownloadError(f"{host} denies access to {repo_id} (status {status}). Is the token valid? {login}")
    reason = cause(error)
    if status is not None:
        return DownloadError(f"{host} answers with an error for {repo_id} ({reason}). Try again later.")
    return DownloadError(
        f"could not reach {host} for {repo_id} ({reason}). Check the network; for machines without one, run "
        "`endofm download` on one that has a network, and copy its cache."
    )


def _cached(repo_id: str, filename: str, revision: str, options: DownloadOptions) -> HubFile | None:
    path = try_to_load_from_cache(repo_id, filename, cache_dir=options.cache_dir, revision=revision)
    if not isinstance(path, str):
        return None
    return _described(Path(path), filename)


def _described(path: Path, filename: str) -> HubFile:
    # The path is .../snapshots/<commit>/<filename>, a link to .../blobs/<etag> where the system has links.
    return HubFile(path=path, commit=path.parents[filename.count("/")].name, sha256=_sha256(_blob_name(path)))


def _blob_name(path: Path) -> str:
    return path.readlink().name if path.is_symlink() else ""


def _sha256(etag: str) -> str:
    return etag if len(etag) == _SHA256_DIGITS else ""


def _is_intact(path: Path) -> bool:
    """Compare a cached file with its checksum, which is the name of its blob (unknown on systems without links)."""
    return matches_etag(path, _blob_name(path))


def _metadata(repo_id: str, filename: str, revision: str, options: DownloadOptions, *, attempts: int) -> HfFileMetadata:
    url = hf_hub_url(repo_id, filename, revision=revision)
    for attempt in range(attempts):
        try:
            metadata = _ask(url, options)
        except HfHubHTTPError as error:
            if not is_transient(error) or attempt + 1 == attempts:
                raise
            backoff(attempt)
        else:
            break
    # A proxy's error page, for example, has neither header.
    if metadata.commit_hash is None or metadata.etag is None:
        raise FileMetadataError(f"the answer for {url} is not that of a hub; check HF_ENDPOINT and the proxy")
    if metadata.size is not None and not 0 <= metadata.size <= LARGEST_BYTES:
        raise DownloadError(f"{url}: the server states a size that no file has ({quoted(metadata.size, limit=40)})")
    # Both become names of files and folders in the cache, and the ETag is what the content is verified with. A hub
    # states digests (40 digits of a git object, 64 of a sha256); anything else could be a path, or verify nothing.
    for what, value in (("commit", metadata.commit_hash), ("ETag", metadata.etag)):
        if not (_COMMIT.fullmatch(value) or (what == "ETag" and _SHA256.fullmatch(value))):
            raise DownloadError(
                f"{url}: the server states a {what} that is not a digest ({quoted(value, limit=80)}), as a hub would. "
                "Nothing was written. Check HF_ENDPOINT and the proxy"
            )
    return metadata


def _ask(url: str, options: DownloadOptions) -> HfFileMetadata:
    """Request a file's metadata; end even if the server never finishes its answer."""
    give_up = time.monotonic() + _METADATA_SECONDS
    try:
        return watched(
            url,
            lambda: get_hf_file_metadata(url, token=options.token, library_name="endofm", library_version=__version__),
            lambda: f"{url} was not answered in {_METADATA_SECONDS:.0f} s" if time.monotonic() > give_up else "",
        )
    except UnacceptableAnswerError as error:
        raise DownloadError(str(error)) from error


def _download(
    repo_id: str, filename: str, revision: str, metadata: HfFileMetadata, options: DownloadOptions
) -> HubFile:
    """Download the file's blob into the cache, then let huggingface_hub link it."""
    etag, commit = str(metadata.etag), str(metadata.commit_hash)
    cache = Path(options.cache_dir or constants.HF_HUB_CACHE)
    folder = repo_folder_name(repo_id=repo_id, repo_type="model")
    blob = cache / folder / "blobs" / etag

    def check(path: Path) -> None:
        if not matches_etag(path, etag):
            raise ChecksumError(
                f"{repo_id}/{filename} at {commit} arrived twice with a checksum other than {etag}, which the hub "
                "states for it. Something on the network changes the file (a proxy?)."
            )

    with file_lock(cache / ".locks" / folder / f"{etag}.lock"):
        pointer = _cached(repo_id, filename, commit, options)
        if pointer and not pointer.path.is_symlink():
            pointer.path.unlink()  # a copy, on systems without links, that turned out to be damaged
        if options.force_download or not (blob.is_file() and matches_etag(blob, etag)):
            fetch(
                hf_hub_url(repo_id, filename, revision=commit),
                blob,
                check=check,
                headers=build_hf_headers(token=options.token, library_name="endofm", library_version=__version__),
                size=metadata.size,
                label=filename,
            )
        path = _link(cache / folder, blob, filename, revision=revision, commit=commit)
    return replace(_described(path, filename), sha256=_sha256(etag))


def _link(folder: Path, blob: Path, filename: str, *, revision: str, commit: str) -> Path:
    """Make a verified blob the file of a commit, in the layout of huggingface_hub's cache.

    Its own function for this asks the server once more, whose second answer would have to be verified like the first.

    Args:
        folder: Folder of the repository in the cache.
        blob: The file.
        filename: Path of the file in the repository.
        revision: Branch or tag to record as this commit.
        commit: Commit hash.

    Returns:
        ``snapshots/<commit>/<filename>``: a link, or a copy on systems without links.
    """
    path = folder / "snapshots" / commit / filename
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path.is_symlink() and path.exists() and path.samefile(blob)):
        path.unlink(missing_ok=True)
        try:
            path.symlink_to(os.path.relpath(blob, path.parent))
        except OSError:
            blob.replace(path)
    if revision != commit:
        write_text(folder / "refs" / revision, commit)
    return path


def _offline_error(repo_id: str, filename: str, revision: str, cached: HubFile | None) -> EndoFMError:
    if cached:
        return ChecksumError(
            f"{cached.path} is damaged, and downloads are off (local_files_only or HF_HUB_OFFLINE). Load it once with "
            "downloads on to replace it."
        )
    return WeightsNotFoundError(
        f"{repo_id} at revision {quoted(revision)} is not in the cache ({filename} is missing), and downloads are off "
        "(local_files_only or HF_HUB_OFFLINE). Run `endofm download` once with downloads on, or on another machine "
        "and copy its cache."
    )
