"""``endofm library`` and ``endofm search``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from endofm.cli.main import main
from helpers.made_library import WEIGHTS, write_recordings


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_recordings(folder / "features", 3)
    assert main(["library", "add", str(folder / "features"), "-o", str(folder / "a.lance"), "--quiet"]) == 0
    return folder


def test_adding_says_what_became_of_each_file(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.lance")
    features = write_recordings(tmp_path / "features", 2)
    (features / "bad.npz").write_bytes(b"x")
    assert main(["library", "add", str(features), "-o", out]) == 1
    printed = capsys.readouterr()
    assert "2 recordings with 24 clips added" in printed.out
    assert printed.err.startswith("endofm: failed: ")
    (features / "bad.npz").unlink()
    assert main(["library", "add", str(features), "-o", out]) == 0
    assert "0 recordings with 0 clips added" in (printed := capsys.readouterr()).out
    assert "(2 were in it before)" in printed.out
    other = write_recordings(tmp_path / "other", 1, first=9, weights={**WEIGHTS, "sha256": "cd" * 32})
    assert main(["library", "add", str(other), "-o", out]) == 1
    message = capsys.readouterr().err
    assert message.startswith("endofm: error: ")
    assert message.count("\n") == 1
    assert "weights_sha256" in message


def test_what_a_library_holds(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["library", "info", str(archive / "a.lance")]) == 0
    printed = capsys.readouterr().out
    assert "recordings  3" in printed
    assert "sets        features (3)" in printed
    assert main(["library", "info", str(archive / "a.lance"), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in described["recordings"]] == ["0.mp4", "1.mp4", "2.mp4"]
    assert main(["library", "info", str(archive / "none.lance")]) == 1
    assert "there is no library" in capsys.readouterr().err


def test_search_prints_and_writes(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library, out = str(archive / "a.lance"), tmp_path / "hits.csv"
    plot = tmp_path / "hits.png"
    command = ["search", library, "--like", "1.mp4@0:07", "-k", "3", "-o", str(out), "--plot", str(plot)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "more similar than" in lines[0]
    assert not any("1.mp4@" in line for line in lines)
    assert len(out.read_text().splitlines()) == 4
    assert plot.is_file()
    assert main([*command[:4], "--set", "' OR 1=1 --"]) == 0
    assert "Nothing found" in capsys.readouterr().out
    assert main([*command[:4], "--between", "0:10-0:14", "--same-recording"]) == 0
    assert all("@0:10" in line for line in capsys.readouterr().out.splitlines())
    for wrong, message in (
        (["-o", str(tmp_path / "hits.txt")], "hits are saved as"),
        (["--between", "soon"], "START-END"),
        (["-k", "0"], "k must be an integer"),
    ):
        assert main([*command[:4], *wrong]) == 1
        assert message in capsys.readouterr().err
