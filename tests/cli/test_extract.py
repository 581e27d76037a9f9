"""``endofm extract`` as a process: folders, formats, a bad file, restarts after kills, wrong arguments."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.utils import WeakFileLock

from endofm import (
    EncoderConfig,
    EndoFM,
    FeatureLibrary,
    FeatureSet,
    ModelConfig,
    PreprocessConfig,
    VideoFeatures,
    load_encoder,
)
from endofm.cli.main import main
from endofm.video.writer import write_video
from helpers.small_encoder import save_smaller

COMMAND = [sys.executable, "-m", "endofm", "extract"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_smaller(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    for name, frames in (("a/one.mp4", 40), ("b/one.mp4", 25), ("two.mp4", 30)):
        (folder / name).parent.mkdir(exist_ok=True)
        write_video(folder / name, generator.integers(0, 256, (frames, 48, 64, 3), np.uint8), fps=10)
    return folder


def extract(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


def outputs(out: Path) -> list[str]:
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".endofm-lock")
    return sorted(path.relative_to(out).as_posix() for path in files)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder(weights: Path, recordings: Path, tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "out"
    result = extract(recordings, "-o", out, "--weights", weights, "--jobs", jobs)
    assert result.returncode == 0, result.stderr
    names = ["a/one.mp4.safetensors", "b/one.mp4.safetensors", "manifest.json", "two.mp4.safetensors"]
    assert outputs(out) == names
    assert "3 of 3 videos" in result.stdout
    features = VideoFeatures.load(out / names[0])
    np.testing.assert_allclose(features.start_seconds, [0, 1, 2, 3])
    direct = EndoFM.from_pretrained(weights).extract_features(recordings / "a" / "one.mp4")
    np.testing.assert_allclose(features.embeddings, direct.embeddings, atol=1e-5)
    stamps = {name: (out / name).stat().st_mtime_ns for name in names[:2]}
    again = extract(recordings, "-o", out, "--weights", weights)
    assert "3 of them done before" in again.stdout
    assert stamps == {name: (out / name).stat().st_mtime_ns for name in names[:2]}
    other = extract(recordings, "-o", out, "--weights", weights, "--window-seconds", 2)
    assert other.returncode == 1
    assert "window_seconds was None and is now 2.0" in other.stderr
    assert extract(recordings, "-o", out, "--weights", weights, "--window-seconds", 2, "--overwrite").returncode == 0
    assert len(VideoFeatures.load(out / names[0])) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_bad_file_does_not_stop_the_rest(weights: Path, recordings: Path, tmp_path: Path, jobs: int) -> None:
    folder = tmp_path / "in"
    shutil.copytree(recordings, folder)
    (folder / "a" / "bad.mp4").write_bytes(b"this is no video")
    (folder / "unknown.rec").write_bytes(bytes(range(256)))
    out = tmp_path / "out"
    result = extract(folder, "-o", out, "--weights", weights, "--jobs", jobs)
    assert result.returncode == 1
    assert "bad.mp4" in result.stderr
    assert "Traceback" not in result.stderr
    assert "3 of 4 videos" in result.stdout
    assert "1 other file or folder was left out" in result.stdout
    assert "unknown.rec" in result.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert [row["path"] for row in manifest["left_out"]] == [str(folder / "unknown.rec")]
    rows = {row["output"]: row for row in manifest["videos"]}
    assert rows["a/bad.mp4.safetensors"]["status"] == "failed"
    assert rows["two.mp4.safetensors"]["clips"] == 3
    shutil.copy(recordings / "two.mp4", folder / "a" / "bad.mp4")
    mended = extract(folder, "-o", out, "--weights", weights)
    assert mended.returncode == 0
    assert "3 of them done before" in mended.stdout


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_stopped_and_started_again(weights: Path, recordings: Path, tmp_path: Path, stop: signal.Signals) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(30):
        shutil.copy(recordings / "a" / "one.mp4", folder / f"{number:02}.mp4")
    command = [*COMMAND, str(folder), "-o", str(out), "--weights", str(weights)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores Ctrl-C and would hand that down.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("[0-9]*.safetensors"))) < 3 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    os.kill(process.pid, stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL), errors
    assert "Traceback" not in errors
    made = list(out.glob("[0-9]*.safetensors"))
    assert 3 <= len(made) < 30
    for path in made:
        assert len(VideoFeatures.load(path)) == 4
    again = extract(folder, "-o", out, "--weights", weights)
    assert again.returncode == 0, again.stderr
    assert "30 of 30 videos" in again.stdout
    assert " (0 of them done before)" not in again.stdout
    assert len(outputs(out)) == 31


def test_lists_formats_and_pictures(weights: Path, recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"# mine\n{recordings / 'two.mp4'}\n")
    for form in ("npz", "parquet", "h5"):
        out = tmp_path / form
        options = ["--level", "frame", "--format", form, "--plot", "--quiet"]
        result = extract("--list", tmp_path / "list.txt", "-o", out, "--weights", weights, *options)
        assert result.returncode == 0, result.stderr
        assert result.stdout == ""
        features = VideoFeatures.load(out / f"two.mp4.{form}")
        assert features.frame_embeddings is not None
        assert features.frame_embeddings.shape == (3, 4, 24)
        picture = (out / f"two.mp4.{form}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 10_000


@pytest.mark.parametrize("suffix", ["csv", "pt", "zarr"])
def test_every_command_takes_every_format(weights: Path, recordings: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("zarr" if suffix == "zarr" else "torch")
    pytest.importorskip("lancedb")
    arguments = [str(recordings / "two.mp4"), str(recordings / "a" / "one.mp4"), "--weights", str(weights), "--quiet"]
    assert main(["extract", *arguments, "-o", str(tmp_path / "plain")]) == 0
    extraction = ["extract", *arguments, "-o", str(tmp_path / "out"), "--format", suffix]
    assert main(extraction) == 0
    files = [tmp_path / "out" / name for name in outputs(tmp_path / "out") if name != "manifest.json"]
    stamps = [path.stat().st_mtime_ns for path in files]
    assert main(extraction) == 0
    assert stamps == [path.stat().st_mtime_ns for path in files]
    plain, features = FeatureSet.open(tmp_path / "plain"), FeatureSet.open(tmp_path / "out")
    assert list(features) == list(plain)
    for name in plain:
        assert np.array_equal(features[name].embeddings, plain[name].embeddings)
        assert features[name].provenance == plain[name].provenance
    file, library = tmp_path / "out" / f"two.mp4.{suffix}", tmp_path / "library.lance"
    assert main(["library", "add", str(tmp_path / "out"), "-o", str(library)]) == 0
    assert main(["library", "add", str(file), "-o", str(library)]) == 0
    assert len(FeatureLibrary(library).recordings) == 2
    assert main(["search", str(library), "--like", f"{file}@00:01", "-o", str(tmp_path / "hits.json")]) == 0
    assert json.loads((tmp_path / "hits.json").read_text())
    for number, path in enumerate((file, tmp_path / "out")):
        assert main(["report", str(path), "-o", str(tmp_path / f"pages{number}"), "--weights", str(weights)]) == 0
        assert (tmp_path / f"pages{number}" / "two.mp4.report.html").is_file()


def test_bad_entries_and_equal_names_of_a_list(weights: Path, recordings: Path, tmp_path: Path) -> None:
    entries = [recordings / "a" / "one.mp4", tmp_path / "gone.mp4", recordings / "b" / "one.mp4", tmp_path]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(str, entries)).encode())
    out = tmp_path / "out"
    result = extract("--list", tmp_path / "list.txt", "-o", out, "--weights", weights)
    assert result.returncode == 1
    assert "2 of 4 videos" in result.stdout
    assert outputs(out) == ["a/one.mp4.safetensors", "b/one.mp4.safetensors", "manifest.json"]
    rows = json.loads((out / "manifest.json").read_text())["videos"]
    failed = {row["source"]: row["error"] for row in rows if row["status"] == "failed"}
    assert set(failed) == {str(tmp_path / "gone.mp4"), str(tmp_path)}
    assert "gone.mp4" in failed[str(tmp_path / "gone.mp4")]


def test_any_name_is_a_name(weights: Path, recordings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"x$_{$.mp4", b"_a\\b^c.mp4", b"not-utf8-\xe9.mp4", "漢字😀.mp4".encode(), b"two\nlines.mp4"]
    for name in names:
        shutil.copy(recordings / "two.mp4", os.fsencode(folder) + b"/" + name)
    for format_ in ("safetensors", "parquet"):
        out = tmp_path / format_
        result = extract(folder, "-o", out, "--weights", weights, "--plot", "--format", format_)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        written = {os.fsencode(path.name) for path in out.iterdir()}
        for name in names:
            assert {name + f".{format_}".encode(), name + f".{format_}.png".encode()} <= written


def test_a_picture_can_be_requested_later(weights: Path, recordings: Path, tmp_path: Path) -> None:
    video, out = recordings / "two.mp4", tmp_path / "out"
    assert extract(video, "-o", out, "--weights", weights).returncode == 0
    assert outputs(out) == ["manifest.json", "two.mp4.safetensors"]
    assert extract(video, "-o", out, "--weights", weights, "--plot").returncode == 0
    assert "two.mp4.safetensors.png" in outputs(out)
    assert "(1 of them done before)" in extract(video, "-o", out, "--weights", weights, "--plot").stdout


def test_two_runs_do_not_share_a_folder(weights: Path, recordings: Path, tmp_path: Path) -> None:
    with WeakFileLock(tmp_path / ".endofm-lock"):
        result = extract(recordings, "-o", tmp_path, "--weights", weights)
    assert result.returncode == 1
    assert "another process is writing to this folder" in result.stderr
    assert extract(recordings, "-o", tmp_path, "--weights", weights).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4"], "missing.mp4: there is no such file"),
        ([], "no videos given"),
        (["{recordings}", "--jobs", "0"], "--jobs must be at least 1"),
        (["{recordings}", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["{recordings}", "--fps", "0"], "--fps must be a number > 0, got 0"),
        (["{recordings}", "--hop-frames", "3"], "hop_frames goes with frame_stride"),
        (["{recordings}", "--window-seconds", "-1"], "window_seconds must be a number of seconds from"),
    ],
)
def test_wrong_arguments(weights: Path, recordings: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    filled = [argument.format(recordings=recordings) for argument in arguments]
    result = extract(*filled, "-o", tmp_path / "out", "--weights", weights)
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_wrong_usage(weights: Path, recordings: Path, tmp_path: Path) -> None:
    result = extract(recordings, "-o", tmp_path / "out", "--weights", weights, "--format", "docx")
    assert result.returncode == 2
    assert "choose from safetensors, npz, parquet, h5" in result.stderr


def test_a_run_that_finished_nothing_leaves_the_folder_to_other_settings(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"this is no video")
    command = [tmp_path / "bad.mp4", "-o", tmp_path / "out", "--weights", weights]
    assert extract(*command).returncode == 1
    other = extract(*command, "--window-seconds", 2)
    assert "1 of 1" not in other.stdout
    assert "holds the results of other settings" not in other.stderr


def test_without_weights_the_published_model_is_taken(recordings: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path / "empty")}
    command = [*COMMAND, str(recordings), "-o", str(tmp_path / "out"), "--local-files-only"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 1
    assert "taking endofm-base-8x224" in result.stderr
    assert "--weights endofm-nano-4x96" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_warning_of_the_package_is_one_plain_line(recordings: Path, tmp_path: Path) -> None:
    result = extract(recordings / "two.mp4", "-o", tmp_path, "--weights", "endofm-tiny-8x224-random", "--jobs", 2)
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if "random" in line]
    assert line.startswith("endofm: warning: endofm-tiny-8x224-random: these weights are random")


@pytest.fixture(scope="module")
def longer(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with longer windows, other frames and another size, in a folder whose name has a comma."""
    config = ModelConfig(
        encoder=EncoderConfig(img_size=48, num_frames=6, embed_dim=24, depth=1, num_heads=2),
        preprocess=PreprocessConfig.for_image_size(48, num_frames=6, window_seconds=2.0),
    )
    return EndoFM(config).save_pretrained(tmp_path_factory.mktemp("weights") / "six,frames")


@pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")
def test_several_weights_in_one_pass(
    weights: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out, names = tmp_path / "in", tmp_path / "out", ["model", "endovit-tiny-random", "vjepa2-tiny-random"]
    shutil.copytree(recordings, folder)
    (folder / "bad.mp4").write_bytes(b"this is no video")
    together = ",".join([str(weights), *names[1:]])
    result = extract(folder, "-o", out, "--weights", together, "--jobs", 2)
    assert result.returncode == 1
    assert result.stderr.count("endofm: failed:") == 1, result.stderr
    assert result.stdout.count("3 of 4 videos in ") == 3
    (folder / "bad.mp4").unlink()
    for name, source in zip(names, [weights, *names[1:]], strict=True):
        made = [path for path in outputs(out / name) if path != "manifest.json"]
        assert made == [f"{video}.mp4.safetensors" for video in ("a/one", "b/one", "two")]
        found = VideoFeatures.load(out / name / "two.mp4.safetensors")
        alone = load_encoder(source).extract_features(folder / "two.mp4", progress=False)
        np.testing.assert_allclose(found.embeddings, alone.embeddings, atol=1e-5)
        assert found.provenance["weights"] == alone.provenance["weights"]
    # Each folder is that of a run of its own, which either command resumes.
    assert main(["extract", str(folder), "-o", str(out / "model"), "--weights", str(weights)]) == 0
    assert "(3 of them done before)" in capsys.readouterr().out
    (out / names[1] / "two.mp4.safetensors").unlink()
    assert main(["extract", str(folder), "-o", str(out), "--weights", f"{together},gastronet-5m-tiny-random"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "videos in" in line]
    assert [line.split("(")[1].split(" ")[0] for line in lines] == ["3", "2", "3", "0"]


def test_weights_with_a_comma_and_weights_of_one_name(
    weights: Path, longer: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert main(["extract", str(recordings), "-o", str(out), "--weights", str(longer)]) == 0
    assert len(VideoFeatures.load(out / "two.mp4.safetensors")) == 2
    assert main(["extract", str(recordings), "-o", str(again), "--weights", f"{weights},{weights}"]) == 1
    assert f"would both be written to {again / 'model'}" in capsys.readouterr().err
    assert not again.exists()


def test_every_real_recording(weights: Path, media_dir: Path, tmp_path: Path) -> None:
    result = extract(media_dir / "videos", "-o", tmp_path, "--weights", weights)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "manifest.json").read_text())["videos"]
    # Frames over rate, as the table beside the recordings says; the GIF's delays add up to 2.00 s. Windows are 1 s, and
    # a last one shorter than half is left out.
    expected = {
        "chole_tools_montage.gif": 2.0,
        "laparo_dim.mp4": 150 / 25,
        "laparo_gallbladder.mp4": 250 / 25,
        "nasal_long_540p.mp4": 260 / 30,
        "nasal_short_1080p.mp4": 1.0,
        "phantom_bowel_robot.avi": 50 / 10,
    }
    assert {row["output"]: row["seconds"] for row in rows} == {
        f"{name}.safetensors": pytest.approx(seconds, abs=1e-3) for name, seconds in expected.items()
    }
    assert not any(row["problems"] for row in rows)
