"""The real hub client uploading to a hub on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from endofm.errors import DownloadError, InputError, WeightsNotFoundError
from endofm.hub.resolve import load_weights
from endofm.hub.upload import push_folder, push_to_hub
from helpers.small_encoder import CONFIG, same, tensors
from loopback_hub import LoopbackHub

TOKEN = "hf_writer"


def test_a_folder_is_uploaded_and_loads_again(hub: LoopbackHub, model_folder: Path) -> None:
    (model_folder / "secrets.txt").write_text("not for the hub")
    address = push_folder(model_folder, "owner/new", token=TOKEN, commit_message="First weights")
    repo = hub.repos["owner/new"]
    commit = repo.branches["main"]
    assert address == f"{hub.url}/owner/new/commit/{commit}"
    assert repo.messages[commit] == "First weights"
    files = repo.commits[commit]
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert files["model.safetensors"] == (model_folder / "model.safetensors").read_bytes()
    loaded = load_weights("owner/new")
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors())


def test_a_model_in_memory_is_uploaded(hub: LoopbackHub) -> None:
    push_to_hub("owner/new", config=CONFIG, state_dict=tensors("x/"), token=TOKEN, private=True)
    assert hub.repos["owner/new"].private
    loaded = load_weights("owner/new", token=TOKEN)
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors("x/"))
    assert b'from_pretrained("owner/new")' in next(
        files["README.md"] for files in hub.repos["owner/new"].commits.values() if "README.md" in files
    )


def test_an_existing_repository_gets_another_commit(hub: LoopbackHub, model_folder: Path) -> None:
    for _ in range(2):
        push_folder(model_folder, "owner/new", token=TOKEN)
    assert list(hub.repos["owner/new"].messages.values()) == ["initial commit", "Upload model", "Upload model"]


def test_a_pull_request(hub: LoopbackHub, model_folder: Path) -> None:
    address = push_folder(model_folder, "owner/new", token=TOKEN, create_pr=True)
    assert address.endswith("/discussions/1")
    assert hub.repos["owner/new"].messages[hub.repos["owner/new"].branches["main"]] == "initial commit"


@pytest.mark.usefixtures("hub")
class TestRefusals:
    def test_without_a_token(self, model_folder: Path) -> None:
        with pytest.raises(DownloadError, match=r"denies access to owner/new \(status 401\).*token"):
            push_folder(model_folder, "owner/new", token="hf_wrong")

    def test_a_branch_that_does_not_exist(self, model_folder: Path) -> None:
        with pytest.raises(WeightsNotFoundError, match="no revision 'v2'"):
            push_folder(model_folder, "owner/new", token=TOKEN, revision="v2")

    def test_a_name_that_the_hub_cannot_have(self, model_folder: Path) -> None:
        with pytest.raises(InputError, match="not the name of a hub repository"):
            push_folder(model_folder, "owner//new", token=TOKEN)

    def test_a_card_that_the_hub_does_not_accept(self, model_folder: Path) -> None:
        (model_folder / "README.md").write_text("no metadata")
        with pytest.raises(InputError, match=r"(?s)does not accept .*README\.md.*no metadata"):
            push_folder(model_folder, "owner/new", token=TOKEN)

    def test_a_folder_that_is_no_model(self, hub: LoopbackHub, tmp_path: Path) -> None:
        with pytest.raises(WeightsNotFoundError, match=r"no config\.json"):
            push_folder(tmp_path, "owner/new", token=TOKEN)
        assert not hub.seen

    def test_a_failing_server(self, hub: LoopbackHub, model_folder: Path) -> None:
        hub.fault("POST .*/commit/", status=500)
        with pytest.raises(DownloadError, match="Try again later"):
            push_folder(model_folder, "owner/new", token=TOKEN)
