"""The command line as a process: help, errors in one line, exit status."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from endofm import __version__, demo_video
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
        (["extract", "v.mp4", "-o", "out", "--windw", "2"], "--window-seconds?"),
    ],
    ids=["command", "subcommand", "choice", "option", "option of this command"],
)
def test_wrong_names_get_a_suggestion(argv: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(argv)
    assert exit_info.value.code == 2
    assert f"did you mean {suggestion}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["extract", "procedure.mp4", "-o", "out", "--weights", "nano"], "Did you mean endofm-nano-4x96 or "),
        (["pretrain", "nanno"], "did you mean 'nano'? for pre-training the package has distill, endofm, nano, vcl"),
        (["pretrain", "nano", "data.clisp=x"], "did you mean 'clips'?"),
        (["finetune", "segmentation", "soud"], "did you mean 'sound'?"),
        (["finetune", "classification", "nano", "data.trian=x"], "did you mean 'train'?"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_wrong_names_of_files_and_settings_get_a_suggestion(
    argv: list[str], answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "procedure.mp4").symlink_to(demo_video())
    assert main(argv) == 1
    assert answer in capsys.readouterr().err


@pytest.mark.parametrize("command", ["pretrain nano run.epoch=3", "finetune classification nano data.trian=x"])
def test_a_setting_is_refused_before_anything_slow_is_imported(command: str) -> None:
    code = (
        "import sys; from endofm.cli.main import main; main(sys.argv[1:]); "
        "print([name for name in ('torch', 'lightning_fabric', 'torchmetrics', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *command.split()], capture_output=True, text=True, check=True)
    assert "did you mean" in done.stderr
    assert done.stdout.strip() == "[]"


# Each with a `{}` for the place of its output. None of the inputs exists: what is wrong with the output comes first.
WRITING = [
    "extract v.mp4 -o {} --weights w",
    "classify v.mp4 -o {} --weights w",
    "classify v.mp4 -o {}/x.json --weights w",
    "detect v.mp4 -o {} --weights w",
    "detect v.mp4 -o {}/x.csv -o {}/x.mp4 --weights w",
    "segment v.mp4 -o {} --weights w",
    "segment v.mp4 -o {}/x.masks --weights w",
    "report v.mp4 -o {}",
    "visualize attention v.mp4 -o {}/x.png",
    "visualize pca v.mp4 -o {}/x.png",
    "library add in -o {}",
    "search a.lance --like v.mp4@1 -o {}/x.csv",
    "convert w.pth {}",
    "export --weights w --to onnx -o {}/x.onnx",
    "download w --cache-dir {}",
    "benchmark --weights w --json {}/x.json",
    "bench --weights w --suite real-stills -o {}",
    "data prepare folder in {}",
    "data shard in {}",
    "data synth {} --task classification --clips 4",
    "data check {}",
    "data import l.json media {}",
    "data export r.json {} --to coco",
    "pretrain nano --out {} data.clips=in",
    "finetune classification nano --out {} data.train=in",
    "evaluate features in --labels l.csv -o {}",
    "evaluate classification l.csv --weights w -o {}",
    "evaluate detection in --weights w -o {}",
    "evaluate segmentation l.csv --weights w -o {}",
]


@pytest.mark.parametrize("place", ["file/below", "/proc/1/below"])
@pytest.mark.parametrize("line", WRITING)
def test_an_unwritable_output_is_one_sentence_before_anything_is_read(
    line: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(shlex.split(line.format(*[place] * 2))) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(f"endofm: error: {place}")
    assert "cannot be written" in errors
    assert errors.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_command_with_an_output_is_tried_on_an_unwritable_one() -> None:
    tried = {shlex.split(line)[0] for line in WRITING}
    tried |= {" ".join(shlex.split(line)[:2]) for line in WRITING}
    for command in build_parser().with_subcommands():
        if any(action.dest == "out" for action in command._actions):
            assert command.prog.removeprefix("endofm ") in tried or "finetune" in command.prog


@pytest.mark.parametrize("option", ["--views 0", "--resamples -1"])
def test_options_of_an_evaluation_are_checked_before_the_weights(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "classification", "l.csv", "--weights", "no-such-weights", *option.split()]) == 1
    assert option.split()[0].strip("-") in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x.npz", "report.json", "there"])
def test_a_file_is_no_output_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    for command in ("extract v.mp4 -o {} --weights w", "data prepare folder in {}", "convert w.pth {}"):
        assert main(shlex.split(command.format(name))) == 1
        assert "the output is a folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_what_the_system_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, words in ((errno.ENOSPC, "the disk is full"), (errno.EACCES, "cards.json: Permission denied")):

        def refuse(_: object, number: int = number) -> int:
            raise OSError(number, os.strerror(number), "cards.json")

        monkeypatch.setattr("endofm.cli.models.run", refuse)
        assert main(["models"]) == 1
        assert capsys.readouterr().err.startswith(f"endofm: error: {words}")


def test_every_command_has_help_with_examples_that_parse() -> None:
    parser = build_parser()
    for command in parser.with_subcommands():
        text = command.format_help()
        assert text.startswith(f"usage: {command.prog} ")
        assert "examples:\n" in text
        for line in text.partition("examples:\n")[2].splitlines():
            if line.startswith("  endofm "):
                line = line.partition(" > ")[0]
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
    for fact in ("12 blocks", "width 768", "121,258,752", "0.485", "256", "not medical", "apache"):
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
    assert {"torch", "cpu", "precision", "codecs", "cache", "trial"} <= {finding["topic"] for finding in findings}
    assert not [finding for finding in findings if finding["state"] == "fail"]
    (fastest,) = [finding["text"] for finding in findings if finding["topic"] == "precision"]
    assert re.match(r"(exact|bfloat16|int8) is fastest on this processor \(products, against exact: bfloat16 ", fastest)
