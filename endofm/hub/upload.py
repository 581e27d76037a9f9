"""Uploading model folders to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HFValidationError

from endofm._version import __version__
from endofm.config import ModelConfig
from endofm.errors import InputError, quoted
from endofm.hub.licence import require_accepted
from endofm.hub.model_card import FOLDER_PLACEHOLDER
from endofm.hub.model_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, read_folder_config, save_folder
from endofm.hub.remote import hub_error
from endofm.hub.transfer import NETWORK_ERRORS

if TYPE_CHECKING:
    from torch import Tensor


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    accept_license: str | None = None,
) -> str:
    """Upload a model folder in one commit, creating the repository if it does not exist.

    Only the weights, the configuration and the model card are uploaded; other files in the folder are ignored.

    Args:
        folder: Folder written by :func:`~endofm.hub.model_folder.save_folder`.
        repo_id: ``owner/name``.
        token: Access token with the right to write; the stored one by default.
        private: Whether a new repository is private; the owner's default if None.
        revision: Branch to commit to, which must exist; the main branch by default.
        commit_message: First line of the commit's message.
        create_pr: Open a pull request instead of committing to the branch.
        accept_license: Identifier of the weights' licence, to be stated if it does not allow every use.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        WeightsNotFoundError: If the folder is not a model folder, or the branch does not exist.
        DownloadError: If the hub cannot be reached or refuses.
        InputError: If the repository's name or the model card's metadata is not valid, or the licence was not accepted.
    """
    folder = Path(folder)
    # Refuses a folder whose files do not belong together, before a repository is created for it.
    config = read_folder_config(folder)
    require_accepted(config.license, accept_license, action="An upload")
    contents: dict[str, Path | bytes] = {name: folder / name for name in (CONFIG_NAME, WEIGHTS_NAME)}
    if (folder / CARD_NAME).is_file():
        card = (folder / CARD_NAME).read_text(encoding="utf-8")
        # Only now does the model have the name that the card's example loads.
        contents[CARD_NAME] = card.replace(FOLDER_PLACEHOLDER, repo_id).encode()
    api = HfApi(token=token, library_name="endofm", library_version=__version__)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        # One commit, so that no revision of the repository holds new weights with an old configuration.
        commit = api.create_commit(
            repo_id,
            operations=[
                CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in contents.items()
            ],
            commit_message=commit_message or "Upload model",
            revision=revision,
            create_pr=create_pr,
        )
    except HFValidationError as error:
        raise InputError(f"{quoted(repo_id)} is not the name of a hub repository: {error}") from error
    except NETWORK_ERRORS as error:
        raise hub_error(error, repo_id, revision=revision or "main") from error
    except ValueError as error:  # huggingface_hub validates the card's metadata before the upload
        raise InputError(f"the hub does not accept {folder / CARD_NAME}: {error}") from error
    return str(commit.pr_url or commit.commit_url)


def push_to_hub(
    repo_id: str,
    *,
    config: ModelConfig,
    state_dict: Mapping[str, Tensor],
    card: str | None = None,
    provenance: Mapping[str, str] | None = None,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    accept_license: str | None = None,
) -> str:
    """Upload the folder that :func:`~endofm.hub.model_folder.save_folder` would write.

    Arguments, result and errors are those of that function and of :func:`push_folder`.
    """
    with TemporaryDirectory() as folder:
        save_folder(folder, config=config, state_dict=state_dict, card=card, provenance=provenance)
        return push_folder(
            folder,
            repo_id,
            token=token,
            private=private,
            revision=revision,
            commit_message=commit_message,
            create_pr=create_pr,
            accept_license=accept_license,
        )
