"""Completion in real shells, from the script that the command prints."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from endofm.cli.main import COMMANDS

DRIVER = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
_shtab_endofm
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    command = [sys.executable, "-m", "endofm", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform == "win32" or shutil.which("bash") is None:
        pytest.skip("there is no bash")
    path = tmp_path_factory.mktemp("completion") / "endofm.bash"
    path.write_text(script("bash"))
    return path


def complete(bash_script: Path, folder: Path, *words: str) -> list[str]:
    """Return what bash offers for the last word."""
    command = ["bash", "--norc", "-c", DRIVER, "driver", str(bash_script), "endofm", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split()


def test_bash_completes_commands_options_choices_and_names(bash_script: Path, tmp_path: Path) -> None:
    (tmp_path / "endoscopy.mp4").touch()
    (tmp_path / "sources").mkdir()
    assert complete(bash_script, tmp_path, "") == list(COMMANDS)
    assert complete(bash_script, tmp_path, "extr") == ["extract"]
    assert complete(bash_script, tmp_path, "data", "prep") == ["prepare"]
    assert complete(bash_script, tmp_path, "extract", "v.mp4", "--we") == ["--weights"]
    assert complete(bash_script, tmp_path, "extract", "v.mp4", "--level", "") == ["clip", "frame", "patch"]
    assert complete(bash_script, tmp_path, "data", "prepare", "hyper") == ["hyper-kvasir"]
    # Names first, then paths.
    assert complete(bash_script, tmp_path, "extract", "--weights", "endo")[:2] == [
        "endofm-base-8x224",
        "endofm-nano-4x96",
    ]
    assert complete(bash_script, tmp_path, "info", "endos")[-1] == "endoscopy.mp4"
    assert complete(bash_script, tmp_path, "finetune", "classification", "so") == ["sound", "sources"]
    assert complete(bash_script, tmp_path, "extract", "endo") == ["endoscopy.mp4"]


def test_zsh_reads_its_script(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh")
    (tmp_path / "_endofm").write_text(script("zsh"))
    subprocess.run(["zsh", "-n", tmp_path / "_endofm"], check=True)
    assert "compadd -- endofm-base-8x224 " in (tmp_path / "_endofm").read_text()
