"""Model folders: ``model.safetensors``, ``config.json`` and a model card in ``README.md``. Writing and uploading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from endofm._version import __version__
from endofm.config import ModelConfig
from endofm.errors import ConfigError, InputError, WeightsNotFoundError
from endofm.files import atomic_path
from endofm.hub.card import FOLDER_PLACEHOLDER, model_card
from endofm.hub.checksum import file_sha256
from endofm.hub.layout import hub_task
from endofm.hub.registry import WeightRecord, find_record
from endofm.hub.tensors import read_config, write_tensors

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
CARD_NAME = "README.md"


def save_folder(
    folder: str | Path,
    *,
    config: ModelConfig,
    state_dict: Mapping[str, Tensor],
    card: str | None = None,
    record: WeightRecord | None = None,
    provenance: Mapping[str, str] | None = None,
    told: Mapping[str, str] | None = None,
) -> Path:
    """Write a model folder. A reader finds the old model, or none, or the new one, never a mixture.

    Files of other names in the folder stay as they are.

    Args:
        folder: Folder to create or to write into.
        config: Configuration.
        state_dict: The model's tensors.
        card: Text of the model card; generated if not given.
        record: Record that the generated card tells about; by default the one that the provenance names.
        provenance: Where the weights came from, as :func:`~endofm.hub.resolve.load_weights` reports it.
        told: Sections of the generated card by their headings; see :func:`~endofm.hub.card.model_card`.

    Returns:
        The folder.

    Raises:
        StateDictError: If the tensors are not those of the configuration. Nothing is written.
        InputError: If ``folder`` is a file.
    """
    folder = Path(folder)
    if folder.is_file():
        raise InputError(f"{folder} is a file; give the name of a folder")
    hub_task(config.task).check(config, state_dict, where=str(folder))
    if record is None and provenance:
        record = find_record(provenance.get("record", ""))
    config_file = folder / CONFIG_NAME
    # Renamed in the reverse order when all are written: weights, card, configuration.
    with (
        atomic_path(config_file) as new_config,
        atomic_path(folder / CARD_NAME) as new_card,
        atomic_path(folder / WEIGHTS_NAME) as new_weights,
    ):
        write_tensors(new_weights, state_dict, config)
        if card is None:
            card = model_card(config, record, sha256=file_sha256(new_weights), provenance=provenance, told=told)
        new_card.write_text(card, encoding="utf-8")
        new_config.write_text(config.to_json(), encoding="utf-8")
        # Without its configuration a folder is no model, which holds until the last of the three has its name.
        config_file.unlink(missing_ok=True)
    return folder


def read_folder_config(folder: Path) -> ModelConfig:
    """Return the configuration of a model folder after checking that its files belong together.

    Raises:
        WeightsNotFoundError: If the folder lacks one of the two files.
        ConfigError: If the configuration is not valid, or describes another network than the weights' own header.
    """
    weights = folder / WEIGHTS_NAME
    for file in (folder / CONFIG_NAME, weights):
        if not file.is_file():
            others = sorted(path.name for path in folder.glob("*.pth"))
            hint = f" To use {others[0]}, run `endofm convert {folder / others[0]} OUT`." if others else ""
            raise WeightsNotFoundError(
                f"{folder}: there is no {file.name} in this folder; a model folder holds {CONFIG_NAME} and "
                f"{WEIGHTS_NAME}.{hint}"
            )
    return matching_config(folder / CONFIG_NAME, weights)


def matching_config(config_file: Path, weights: Path) -> ModelConfig:
    """Return the configuration in ``config.json`` if it describes the network that the weights' own header describes.

    Preprocessing, labels and thresholds may be changed there; the network may not.

    Raises:
        ConfigError: If it does not, or is not valid.
    """
    config = ModelConfig.from_file(config_file)
    own = read_config(weights)
    if own is not None and own.encoder != config.encoder:
        raise ConfigError(
            f"{config_file} describes another encoder ({config.encoder}) than the header of {weights} "
            f"({own.encoder}); the two files do not belong together"
        )
    if own is not None and (own.task, own.head and own.head.num_classes) != (
        config.task,
        config.head and config.head.num_classes,
    ):
        raise ConfigError(
            f"{config_file} describes another head ({config.head}) than the header of {weights} ({own.head}); the two "
            "files do not belong together"
        )
    return config


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload a model folder in one commit, creating the repository if it does not exist.

    Only the weights, the configuration and the model card are uploaded, whatever else lies in the folder.

    Args:
        folder: Folder written by :func:`~endofm.hub.folder.save_folder`.
        repo_id: ``owner/name``.
        token: Access token with the right to write; the stored one by default.
        private: Whether a new repository is private; the owner's default if None.
        revision: Branch to commit to, which must exist; the main branch by default.
        commit_message: First line of the commit's message.
        create_pr: Open a pull request instead of committing to the branch.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        WeightsNotFoundError: If the folder is not a model folder, or the branch does not exist.
        DownloadError: If the hub cannot be reached or refuses.
        InputError: If the repository's name or the model card's metadata is not valid.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    from endofm.hub.remote import hub_error
    from endofm.hub.transfer import NETWORK_ERRORS

    folder = Path(folder)
    read_folder_config(folder)
    contents: dict[str, Path | bytes] = {name: folder / name for name in (CONFIG_NAME, WEIGHTS_NAME)}
    if (folder / CARD_NAME).is_file():
        card = (folder / CARD_NAME).read_text(encoding="utf-8")
        contents[CARD_NAME] = card.replace(FOLDER_PLACEHOLDER, repo_id).encode()
    api = HfApi(token=token, library_name="endofm", library_version=__version__)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
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
        raise InputError(f"{repo_id!r} is not the name of a hub repository: {error}") from error
    except NETWORK_ERRORS as error:
        raise hub_error(error, repo_id, revision=revision or "main") from error
    except ValueError as error:
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
) -> str:
    """Upload a model as :func:`save_folder` writes it; see there and at :func:`push_folder` for the arguments."""
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
        )
