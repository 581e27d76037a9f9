"""What the commands print of names that others chose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from endofm.cli.main import main
from endofm.cli.printing import say
from helpers.small_classifier import classifier

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\u202epolyp\n"


def shown(captured: pytest.CaptureFixture[str]) -> str:
    """Return all output, after checking that nothing in it moves the cursor."""
    out, err = captured.readouterr()
    assert not set(out + err) & set("\x1b\x07\r\u202e")
    return out + err


def test_a_line_stays_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"name  {HOSTILE}", "next")
    say("wrong", error=True)
    out, err = capsys.readouterr()
    assert out == "name  \\x1b[2J\\x1b]0;owned\\x07\\r\\u202epolyp\\n\nnext\n"
    assert err == "wrong\n"


def test_info_shows_what_a_configuration_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = classifier().save_pretrained(tmp_path / "m")
    values = json.loads((folder / "config.json").read_text())
    values |= {"name": HOSTILE, "license": f"mit{HOSTILE}"}
    values["head"]["labels"][0] = f"a{HOSTILE}"
    (folder / "config.json").write_text(json.dumps(values))
    assert main(["info", str(folder)]) == 0
    text = shown(capsys)
    assert r"mit\x1b[2J" in text
    assert r"a\x1b[2J" in text


@pytest.mark.parametrize("name", ["a\x1b[2J.pth", "b\rendofm: ok.pth", "c\n.pth", "d\u202e.safetensors"])
def test_names_of_files_are_shown_in_errors(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(b"nonsense")
    assert main(["info", str(tmp_path / name)]) == 1
    assert "endofm: error: " in shown(capsys)
    assert main(["info", str(tmp_path / f"missing {name}")]) == 1
    shown(capsys)


def test_names_of_videos_are_shown_in_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\x1b[2J.mp4").write_bytes(b"no video at all")
    (tmp_path / "in" / "b\x1b[2J.txt").write_bytes(b"no video at all")
    model = classifier().save_pretrained(tmp_path / "m")
    main(["classify", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--weights", str(model)])
    assert r"\x1b[2J.mp4" in shown(capsys)
