"""What a DICOM header says of a patient is in no file that a command writes, and in nothing that it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from endofm import demo_video
from endofm.cli.main import main
from helpers.dicom_makers import PATIENT, SYNTAXES, write_stream


@pytest.mark.parametrize(
    "command",
    [
        "extract in -o out --weights endofm-nano-4x96 --format npz --plot",
        "extract in -o out --weights endofm-nano-4x96",
        "classify in -o out",
        "segment in/IM0001.dcm -o out.json -o out.mp4 --frame-stride 50",
        "data prepare folder in out --jobs 1 --clip-frames 30",
    ],
    ids=lambda command: "-".join(command.split()[:1]),
)
def test_no_output_names_the_patient(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    data = demo_video().read_bytes()
    write_stream(tmp_path / "in" / "IM0001.dcm", data, syntax=SYNTAXES["h264"], count=198, FrameTime="100")
    assert main(command.split()) == 0
    printed = "".join(capfd.readouterr()).encode()
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "in"]
    assert written
    words = {word for value in PATIENT.values() for word in re.split(r"[\^ ]", value) if len(word) > 4}
    for content in (printed, *(path.read_bytes() for path in written)):
        assert not [word for word in words if word.encode() in content]
