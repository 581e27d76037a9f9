"""The command line as a process: help, errors in one line, exit status."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from endofm import __version__
from endofm.cli.main import COMMANDS, build_parser, main


def endofm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "endofm.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_command_and_stays_light() -> None:
    result = endofm("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert command in result.stdout
    assert "medical advice" in result.stdout
    code = (
        "import sys; from endofm.cli.main import build_parser; build_parser(); "
        "print([name for name in ('torch', 'av', 'huggingface_hub') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_version() -> None:
    assert endofm("--version").stdout.strip() == f"endofm {__version__}"


def test_wrong_usage() -> None:
    assert endofm().returncode == 2


@pytest.mark.parametrize(
    ("argv", "suggestion"),
    [
        (["extrct"], "'extract'"),
        (["data", "prepair"], "'prepare'"),
        (["extract", "v.mp4", "-o", "out", "--level", "clp"], "'clip'"),
        (["extract", "v.mp4", "-o", "out", "--levle", "clip"], "--level?"),
    ],
    ids=["command", "subcommand", "choice", "option"],
)
def test_wrong_names_get_a_suggestion(argv: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(argv)
    assert exit_info.value.code == 2
    assert f"did you mean {suggestion}" in capsys.readouterr().err


def test_every_command_has_help_with_examples_that_parse() -> None:
    parser = build_parser()
    for command in parser.with_subcommands():
        text = command.format_help()
        assert text.startswith(f"usage: {command.prog} ")
        for line in text.partition("examples:\n")[2].splitlines():
            if line.startswith("  endofm "):
                parser.parse_known_args(shlex.split(line)[1:])


@pytest.mark.parametrize(
    "argv",
    [
        ["extract", "v.mp4", "-o", "out", "--weights", "w"],
        ["classify", "v.mp4", "-o", "out", "--weights", "w"],
        ["detect", "v.mp4", "-o", "out.json", "--weights", "w"],
        ["segment", "v.mp4", "-o", "out.json", "--weights", "w"],
        ["evaluate", "classification", "list.csv", "--weights", "w"],
        ["evaluate", "detection", "set", "--weights", "w"],
    ],
    ids=lambda argv: "-".join(argv[:2]) if argv[0] == "evaluate" else argv[0],
)
def test_commands_that_run_a_model_take_the_same_arguments(argv: list[str]) -> None:
    parse = build_parser().parse_args
    args = parse(argv)
    assert (args.device, args.precision, args.local_files_only) == (None, "exact", False)
    args = parse([*argv, "--device", "cpu", "--precision", "auto", "--batch-size", "3", "--local-files-only"])
    assert (args.device, args.precision, args.batch_size, args.local_files_only) == ("cpu", "auto", 3, True)


@pytest.mark.parametrize("command", ["info", "download"])
def test_our_errors_are_one_line(command: str) -> None:
    result = endofm(command, "endofm-bse-8x224")
    assert result.returncode == 1
    assert result.stderr.startswith("endofm: error: ")
    assert "endofm-base-8x224" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_info_of_a_registered_name_needs_no_download() -> None:
    result = endofm("info", "endofm-base-8x224")
    assert result.returncode == 0, result.stderr
    for fact in ("12 blocks", "768 wide", "121,258,752", "0.485", "256", "not medical", "apache"):
        assert fact.replace("not medical", "medical advice") in result.stdout
    values = json.loads(endofm("info", "endofm-base-8x224", "--json").stdout)
    assert values["encoder"]["embed_dim"] == 768


def test_info_says_that_random_weights_mean_nothing() -> None:
    assert "mean nothing" in endofm("info", "endofm-tiny-8x224-random").stdout


def test_doctor_finds_this_installation_sound() -> None:
    result = endofm("doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "a rendered clip was written, decoded and embedded" in result.stdout
    findings = json.loads(endofm("doctor", "--json").stdout)
    assert {"torch", "cpu", "codecs", "cache", "trial"} <= {finding["topic"] for finding in findings}
    assert not [finding for finding in findings if finding["state"] == "fail"]
