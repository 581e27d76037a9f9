"""The real hub client against a hub on loopback: what goes well, and everything that can go wrong."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub import constants, scan_cache_dir

from endofm.errors import (
    CheckpointFormatError,
    ChecksumError,
    DownloadError,
    EndoFMWarning,
    InputError,
    WeightsNotFoundError,
)
from endofm.hub.model_folder import save_folder
from endofm.hub.resolve import LoadedWeights, load_weights
from helpers.small_encoder import CONFIG, same, tensors
from loopback_hub import LoopbackHub, loopback_hub, point_client

WEIGHTS = r"/cdn/"
HEAD_CONFIG = r"HEAD .*/config\.json"


@pytest.fixture
def commit(hub: LoopbackHub, model_folder: Path) -> str:
    return hub.commit_folder("owner/model", model_folder)


def is_whole(loaded: LoadedWeights, salt: str = "") -> bool:
    assert loaded.state_dict is not None
    return loaded.config == CONFIG and same(loaded.state_dict, tensors(salt))


def blob(loaded: LoadedWeights) -> Path:
    return Path(loaded.provenance["file"]).resolve()


def test_a_repository_is_fetched_once(hub: LoopbackHub, commit: str, model_folder: Path, tmp_path: Path) -> None:
    loaded = load_weights("owner/model")
    assert is_whole(loaded)
    assert loaded.provenance["revision"] == commit
    assert loaded.provenance["sha256"] == hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    assert blob(loaded).is_relative_to(tmp_path / "home" / "hub")
    fetched = len(hub.requests(r"GET .*(config|cdn)"))
    assert is_whole(load_weights("owner/model"))
    assert len(hub.requests(r"GET .*(config|cdn)")) == fetched
    assert not list((tmp_path / "home").rglob("*.incomplete"))


def test_the_cache_is_one_that_other_programs_can_read(hub: LoopbackHub, commit: str, tmp_path: Path) -> None:
    load_weights("owner/model")
    info = scan_cache_dir(tmp_path / "home" / "hub")
    (repo,) = info.repos
    assert repo.repo_id == "owner/model"
    assert {file.file_name for file in next(iter(repo.revisions)).files} == {"config.json", "model.safetensors"}
    assert next(iter(repo.refs)) == "main"
    assert not info.warnings


def test_revisions_are_pinned(hub: LoopbackHub, commit: str, tmp_path: Path) -> None:
    newer = hub.commit_folder(
        "owner/model", save_folder(tmp_path / "newer", config=CONFIG, state_dict=tensors("newer/"))
    )
    assert is_whole(load_weights("owner/model", revision=commit))
    assert is_whole(load_weights(f"owner/model@{commit}"))
    assert is_whole(load_weights("owner/model"), "newer/")
    assert load_weights("owner/model@main").provenance["revision"] == newer


def test_a_commit_in_the_cache_needs_no_hub(hub: LoopbackHub, commit: str) -> None:
    load_weights("owner/model", revision=commit)
    asked = len(hub.seen)
    assert is_whole(load_weights("owner/model", revision=commit))
    assert len(hub.seen) == asked


def test_both_files_come_from_one_commit(hub: LoopbackHub, commit: str, tmp_path: Path) -> None:
    load_weights("owner/model")
    assert all(commit in seen.path for seen in hub.requests(r"(GET|HEAD) .*resolve.*safetensors"))


@pytest.mark.usefixtures("commit")
class TestRefusals:
    def test_no_such_repository(self) -> None:
        with pytest.raises(WeightsNotFoundError, match=r"no repository owner/missing .*hf auth login"):
            load_weights("owner/missing")

    def test_no_such_revision(self) -> None:
        with pytest.raises(WeightsNotFoundError, match="no revision 'v9'"):
            load_weights("owner/model@v9")

    @pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
    def test_no_such_file(self, hub: LoopbackHub, model_folder: Path, missing: str) -> None:
        (model_folder / missing).unlink()
        hub.commit_folder("owner/half", model_folder)
        with pytest.raises(WeightsNotFoundError, match=f"no file {missing}.*endofm convert"):
            load_weights("owner/half")

    def test_gated(self, hub: LoopbackHub) -> None:
        hub.repos["owner/model"].gated = True
        with pytest.raises(DownloadError, match=r"access to owner/model has to be requested: open http.*owner/model"):
            load_weights("owner/model")

    def test_private(self, hub: LoopbackHub) -> None:
        hub.repos["owner/model"].private = True
        with pytest.raises(WeightsNotFoundError, match="or no access to it"):
            load_weights("owner/model")

    def test_an_expired_token(self, hub: LoopbackHub) -> None:
        hub.fault(HEAD_CONFIG, status=403)
        with pytest.raises(DownloadError, match=r"denies access .*status 403.*token"):
            load_weights("owner/model", token="hf_old")

    @pytest.mark.parametrize("name", ["owner/--", "ow..ner/model", "owner/model.git"])
    def test_a_name_that_the_hub_cannot_have(self, name: str) -> None:
        with pytest.raises(InputError, match="not the name of a hub repository"):
            load_weights(name)


def test_a_token_opens_a_private_repository_and_stays_there(hub: LoopbackHub, commit: str) -> None:
    hub.repos["owner/model"].private = True
    hub.repos["owner/model"].token = "hf_secret"
    assert is_whole(load_weights("owner/model", token="hf_secret"))
    assert hub.requests(r"/resolve/")[0].headers["authorization"] == "Bearer hf_secret"
    assert "authorization" not in hub.requests(WEIGHTS)[-1].headers


@pytest.mark.usefixtures("commit")
class TestTroubleOnTheWay:
    def test_a_failing_server_is_asked_again(self, hub: LoopbackHub) -> None:
        hub.fault(HEAD_CONFIG, status=500)
        hub.fault(r"GET .*/config\.json", status=502)
        hub.fault(f"GET {WEIGHTS}", status=503, times=2)
        assert is_whole(load_weights("owner/model"))
        assert not any(fault.times for fault in hub.faults)

    @pytest.mark.parametrize("where", [HEAD_CONFIG, f"GET {WEIGHTS}"])
    def test_a_server_that_keeps_failing_is_reported(self, hub: LoopbackHub, where: str) -> None:
        hub.fault(where, status=500, times=99)
        with pytest.raises(DownloadError, match=r"Try again later"):
            load_weights("owner/model")

    @pytest.mark.parametrize("reset", [False, True])
    def test_a_cut_transfer_goes_on_where_it_stopped(self, hub: LoopbackHub, reset: bool) -> None:
        hub.fault(f"GET {WEIGHTS}", cut_after=100_000, reset=reset)
        assert is_whole(load_weights("owner/model"))
        first, second = hub.requests(f"GET {WEIGHTS}")
        assert "range" not in first.headers
        start = int(second.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        # A reset may throw away what was on its way; a client may collect a few kilobytes before it hands them on.
        assert 0 <= start <= 100_000 if reset else 90_000 < start <= 100_000

    def test_an_interrupted_download_goes_on_next_time(
        self, hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        hub.fault(f"GET {WEIGHTS}", cut_after=100_000)
        with monkeypatch.context() as patch:
            patch.setattr("time.sleep", interrupt)
            with pytest.raises(KeyboardInterrupt):
                load_weights("owner/model")
        (partial,) = (tmp_path / "home").rglob("*.incomplete")
        kept = partial.stat().st_size
        assert 90_000 < kept <= 100_000
        assert is_whole(load_weights("owner/model"))
        assert hub.requests(f"GET {WEIGHTS}")[-1].headers["range"] == f"bytes={kept}-"
        assert not partial.exists()

    def test_a_download_that_was_complete_but_unnamed_is_kept(
        self, hub: LoopbackHub, tmp_path: Path, model_folder: Path
    ) -> None:
        content = (model_folder / "model.safetensors").read_bytes()
        blobs = tmp_path / "home" / "hub" / "models--owner--model" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{hashlib.sha256(content).hexdigest()}.incomplete").write_bytes(content)
        assert is_whole(load_weights("owner/model"))
        assert not hub.requests(f"GET {WEIGHTS}")

    def test_a_file_that_arrives_wrong_is_fetched_again(self, hub: LoopbackHub) -> None:
        hub.fault(f"GET {WEIGHTS}", corrupt=True)
        assert is_whole(load_weights("owner/model"))
        assert len(hub.requests(f"GET {WEIGHTS}")) == 2

    @pytest.mark.parametrize("where", [f"GET {WEIGHTS}", r"GET .*/config\.json"])
    def test_a_file_that_keeps_arriving_wrong_is_refused(self, hub: LoopbackHub, tmp_path: Path, where: str) -> None:
        hub.fault(where, corrupt=True, times=99)
        with pytest.raises(ChecksumError, match="arrived twice with a checksum other than"):
            load_weights("owner/model")
        assert not list((tmp_path / "home").rglob("*.incomplete"))

    def test_leftovers_of_something_else_are_thrown_away(
        self, hub: LoopbackHub, tmp_path: Path, model_folder: Path
    ) -> None:
        digest = hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
        blobs = tmp_path / "home" / "hub" / "models--owner--model" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{digest}.incomplete").write_bytes(b"rubbish" * 1000)
        assert is_whole(load_weights("owner/model"))

    def test_a_server_without_ranges_starts_over(self, hub: LoopbackHub) -> None:
        hub.fault(f"GET {WEIGHTS}", cut_after=100_000)
        hub.fault(f"GET {WEIGHTS}", ignore_range=True)
        assert is_whole(load_weights("owner/model"))


@pytest.mark.usefixtures("commit")
class TestDamagedCache:
    @pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
    @pytest.mark.parametrize("pinned", [True, False])
    def test_it_is_noticed_and_fetched_again(self, hub: LoopbackHub, commit: str, damage: str, pinned: bool) -> None:
        source = f"owner/model@{commit}" if pinned else "owner/model"
        path = blob(load_weights(source))
        content = path.read_bytes()
        damaged = {"flipped": content[:-1] + bytes([content[-1] ^ 1]), "cut": content[:5000], "empty": b""}[damage]
        path.write_bytes(damaged)
        assert is_whole(load_weights(source))
        assert path.read_bytes() == content

    def test_a_damaged_configuration_is_fetched_again(self, tmp_path: Path) -> None:
        load_weights("owner/model")
        (config,) = (tmp_path / "home" / "hub").rglob("config.json")
        config.resolve().write_text(config.read_text().replace('"num_heads": 4', '"num_heads": 2'))
        assert is_whole(load_weights("owner/model"))

    def test_offline_it_is_refused(self) -> None:
        path = blob(load_weights("owner/model"))
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        with pytest.raises(ChecksumError, match="is damaged, and downloads are off"):
            load_weights("owner/model", local_files_only=True)

    def test_a_copy_without_links_is_replaced(self, hub: LoopbackHub, tmp_path: Path) -> None:
        """Where the system has no links, the snapshot holds a copy and the blob is gone."""
        load_weights("owner/model")
        (pointer,) = (tmp_path / "home" / "hub").rglob("model.safetensors")
        pointer.resolve().unlink()
        pointer.unlink()
        pointer.write_bytes(b"damaged")
        assert is_whole(load_weights("owner/model"))

    def test_it_can_be_fetched_again_on_purpose(self, hub: LoopbackHub) -> None:
        load_weights("owner/model")
        assert is_whole(load_weights("owner/model", force_download=True))
        assert len(hub.requests(f"GET {WEIGHTS}")) == 2


@pytest.mark.usefixtures("commit")
class TestOffline:
    @pytest.fixture(params=["argument", "environment"])
    def offline(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
        if request.param == "environment":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
            return {}
        return {"local_files_only": True}

    def test_what_was_fetched_before_is_used(self, hub: LoopbackHub, commit: str, offline: dict[str, bool]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constants, "HF_HUB_OFFLINE", False)
            load_weights("owner/model")
        asked = len(hub.seen)
        for source in ("owner/model", "owner/model@main", f"owner/model@{commit}"):
            loaded = load_weights(source, **offline)  # type: ignore[arg-type]
            assert is_whole(loaded)
            assert loaded.provenance["revision"] == commit
        assert len(hub.seen) == asked

    def test_what_was_not_is_reported(self, hub: LoopbackHub, offline: dict[str, bool]) -> None:
        with pytest.raises(WeightsNotFoundError, match=r"not in the cache .*downloads are off.*endofm download"):
            load_weights("owner/model", **offline)  # type: ignore[arg-type]
        assert not hub.seen

    def test_the_variable_works_in_a_process_of_its_own(self, hub: LoopbackHub, tmp_path: Path) -> None:
        program = "from endofm.hub.resolve import load_weights; print(load_weights('owner/model').provenance['file'])"
        command = [sys.executable, "-c", program]
        offline = hub.environment(tmp_path / "other", HF_HUB_OFFLINE="1")
        done = subprocess.run(command, env=offline, capture_output=True, text=True)
        assert "not in the cache" in done.stderr
        online = subprocess.run(command, env=hub.environment(tmp_path / "other"), capture_output=True, text=True)
        again = subprocess.run(command, env=offline, capture_output=True, text=True)
        assert again.stdout == online.stdout != ""
        assert Path(again.stdout.strip()).is_relative_to(tmp_path / "other")


class TestUnreachable:
    @pytest.fixture
    def cached(self, tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        """Fetch, then take the hub away: its port refuses connections."""
        with loopback_hub() as hub:
            hub.connect(monkeypatch, tmp_path / "home")
            commit = hub.commit_folder("owner/model", model_folder)
            load_weights("owner/model")
        return commit

    def test_the_last_known_commit_is_used_with_a_warning(self, cached: str) -> None:
        with pytest.warns(EndoFMWarning, match=f"could not be reached; using owner/model at {cached}"):
            assert is_whole(load_weights("owner/model"))

    @pytest.mark.usefixtures("cached")
    def test_what_is_not_cached_is_reported(self) -> None:
        with pytest.raises(DownloadError, match=r"could not reach http://127.*Check the network"):
            load_weights("owner/other")

    def test_a_server_that_is_no_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with loopback_hub() as hub:
            point_client(monkeypatch, f"{hub.url}/files", tmp_path / "home")
            hub.files["owner/model/resolve/main/config.json"] = b"<html>Please log in to the network"
            with pytest.raises(DownloadError, match="X-Repo-Commit|not that of a hub"):
                load_weights("owner/model")

    def test_a_cache_that_cannot_be_written(self, hub: LoopbackHub, commit: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DownloadError, match="cannot be read or written"):
            load_weights("owner/model", cache_dir=tmp_path / "file")


def test_another_cache_folder(hub: LoopbackHub, commit: str, tmp_path: Path) -> None:
    loaded = load_weights("owner/model", cache_dir=tmp_path / "mine")
    assert blob(loaded).is_relative_to(tmp_path / "mine")
    assert not (tmp_path / "home" / "hub").exists()
    assert is_whole(load_weights("owner/model", cache_dir=tmp_path / "mine", local_files_only=True))


def test_weights_that_were_uploaded_broken_are_refused(hub: LoopbackHub, model_folder: Path) -> None:
    (model_folder / "model.safetensors").write_bytes(b"not safetensors")
    hub.commit_folder("owner/broken", model_folder)
    with pytest.raises(CheckpointFormatError, match="damaged"):
        load_weights("owner/broken")


def test_two_processes_at_once(hub: LoopbackHub, commit: str, tmp_path: Path) -> None:
    """Both get whole weights, and only one fetches them."""
    program = (
        "import sys; from endofm.hub.resolve import load_weights; print('ready', flush=True); sys.stdin.readline(); "
        "print(load_weights('owner/model').provenance['sha256'])"
    )
    environment = hub.environment(tmp_path / "shared")
    hub.fault(f"GET {WEIGHTS}", cut_after=50_000)  # the winner needs a moment longer
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    digests = {out.strip() for out, _ in answers}
    assert len(digests) == 1, answers
    assert len(digests.pop()) == 64
    assert len(hub.requests(f"GET {WEIGHTS}")) == 2  # one transfer, in two pieces
    assert not list((tmp_path / "shared").rglob("*.incomplete"))


@pytest.mark.usefixtures("commit")
class TestHostileServers:
    @pytest.mark.parametrize("etag", ["{outside}", "../../../outside", "opaque", "..", ""])
    def test_an_etag_is_a_digest_or_refused(self, hub: LoopbackHub, tmp_path: Path, etag: str) -> None:
        outside = tmp_path / "outside"
        hub.fault(HEAD_CONFIG, times=9, headers={"ETag": f'"{etag.format(outside=outside)}"'})
        with pytest.raises(DownloadError):
            load_weights("owner/model")
        assert not list(tmp_path.rglob("outside*"))
        assert not list((tmp_path / "home").rglob("blobs/*"))

    @pytest.mark.parametrize("commit_hash", ["../../../../outside", "main", "a" * 39])
    def test_a_commit_is_a_hash_or_refused(self, hub: LoopbackHub, tmp_path: Path, commit_hash: str) -> None:
        hub.fault(HEAD_CONFIG, times=9, headers={"X-Repo-Commit": commit_hash})
        with pytest.raises(DownloadError, match="states a commit that is not a digest"):
            load_weights("owner/model")
        assert not list(tmp_path.rglob("outside*"))

    @pytest.mark.parametrize("what", [{"endless": True}, {"extra_length": 5000}])
    def test_a_transfer_ends_at_the_stated_size(
        self, hub: LoopbackHub, tmp_path: Path, model_folder: Path, what: dict[str, object]
    ) -> None:
        hub.fault(rf"GET .*{WEIGHTS}", times=50, **what)
        size = (model_folder / "model.safetensors").stat().st_size
        # Refused, or all that arrived within the stated size is the file.
        with suppress(DownloadError):
            assert is_whole(load_weights("owner/model"))
        largest = max(path.stat().st_size for path in (tmp_path / "home").rglob("*") if path.is_file())
        assert largest <= max(size, 100_000)

    def test_a_branch_is_no_path(self, hub: LoopbackHub, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is not the name of a branch"):
            load_weights("owner/model@../../outside")
