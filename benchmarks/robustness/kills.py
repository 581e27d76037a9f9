"""Kills of every restartable command at random moments, once or several times, and then the same command again.

The result must be that of an undisturbed run, byte for byte except for times and durations, with nothing twice and
nothing left over.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random

from benchmarks.robustness.sandbox import Case, Outcome, generator
from benchmarks.robustness.small_model import model_files, small_model

_PRETRAINING = """
objective:
  name: endofm-fixed
  views: {global_frames: [2, 4], local_frames: [2], global_size: 32, local_size: 16, global_margin: 1, local_parts: 4}
  head: {out_dim: 32, hidden_dim: 24, bottleneck_dim: 16}
  warmup_epochs: 1
model: {encoder: {img_size: 32, num_frames: 4, embed_dim: 24, depth: 1, num_heads: 2}}
run: {epochs: 3, batch_size: 4, num_workers: 0, accelerator: cpu, log_every: 1, checkpoint_every_steps: 1}
"""
_FINETUNING = """
model: {encoder: {img_size: 32, num_frames: 2, embed_dim: 32, depth: 1, num_heads: 2}, window_seconds: 0.8}
evaluation: {resamples: 5, pictures: false}
run:
  {epochs: 3, batch_size: 4, num_workers: 0, accelerator: cpu, monitor: balanced_accuracy, log_every: 1, loggers: [csv],
   checkpoint_every_steps: 1}
"""
_RAISED = 70

# The record of a run and the picture of it show how long it took and how often it was started.
_CLOCKED = ("run.json", "run.png")

COMMANDS = {
    "extract": "extract {inputs}/videos -o out --weights {inputs}/model --window-seconds 0.4 --quiet",
    "classify": "classify {inputs}/videos -o out --weights {inputs}/classifier --format csv --quiet",
    "download": "download owner/model",
    "finetune": "finetune classification {inputs}/finetune.yaml --out out"
    " data.train={inputs}/train.csv data.test={inputs}/test.csv",
    "pretrain": "pretrain {inputs}/pretrain.yaml --out out data.clips={inputs}/clips",
    "data prepare": "data prepare folder {inputs}/videos out --jobs 1 --clip-frames 6 --short-side 32",
    "data synth": "data synth out --task classification --clips 6 --size 48 --frames 4 --patients 6 --workers 1",
    "data shard": "data shard {inputs}/clips out --clips-per-shard 3",
}
"""Commands under attack, by the row of the table."""


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield kills, spread evenly over commands."""
    _inputs()
    names = list(COMMANDS)
    for number in range(count):
        name = names[number % len(names)]
        yield Case(f"kills {name}", f"#{number} seed {seed}", _bind(name, number, seed))


def _bind(name: str, number: int, seed: int) -> Callable[[], tuple[Outcome, str]]:
    return lambda: _kill_and_repeat(name, generator(seed, "kills", number))


@lru_cache(maxsize=1)
def _inputs() -> Path:
    """Return a folder with everything that the commands read, and the results of undisturbed runs by command."""
    from dataclasses import replace

    from endofm import EndoFMForVideoClassification
    from endofm.data.manifest import ClipRow, write_manifest
    from endofm.tasks.classification.config import ClassificationHeadConfig
    from helpers.labelled_videos import make_videos

    root = Path(tempfile.mkdtemp())
    atexit.register(_remove, root, os.getpid())
    make_videos(root)
    clips = root / "clips"
    shutil.copytree(root / "videos", clips)
    rows = [ClipRow(path=path.name, label="x", patient=path.stem) for path in sorted(clips.iterdir())]
    write_manifest(clips / "manifest.csv", rows)
    small_model().save_pretrained(root / "model")
    head = ClassificationHeadConfig(labels=("normal", "polyp"))
    EndoFMForVideoClassification(replace(small_model().config, head=head)).eval().save_pretrained(root / "classifier")
    (root / "pretrain.yaml").write_text(_PRETRAINING, encoding="utf-8")
    (root / "finetune.yaml").write_text(_FINETUNING, encoding="utf-8")
    return root


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _kill_and_repeat(name: str, rng: Random) -> tuple[Outcome, str]:
    with tempfile.TemporaryDirectory() as scratch, _served(name) as environment:
        calm, killed = Path(scratch) / "calm", Path(scratch) / "killed"
        for folder in (calm, killed):
            folder.mkdir()
        began = time.monotonic()
        if status := _run(name, calm, environment):
            return Outcome.FOREIGN, f"undisturbed, the command ended: {_why(status)}"
        seconds = time.monotonic() - began
        moments = [rng.random() * seconds for _ in range(rng.choice((1, 1, 2, 4)))]
        for moment in moments:
            _run(name, killed, environment, kill_after=moment)
        if status := _run(name, killed, environment):
            return Outcome.FOREIGN, f"after kills at {_shown(moments)} s the command ended: {_why(status)}"
        again = _contents(killed)
        if difference := _difference(_contents(calm), again):
            return Outcome.SILENT, f"after kills at {_shown(moments)} of {seconds:.2f} s: {difference}"
        if status := _run(name, killed, environment):
            return Outcome.FOREIGN, f"finished, the command ended: {_why(status)}"
        if difference := _difference(again, _contents(killed)):
            return Outcome.SILENT, f"a run with nothing to do: {difference}"
        return Outcome.OK, f"kills at {_shown(moments)} of {seconds:.2f} s"


def _why(status: int) -> str:
    if status == _RAISED:
        return (_inputs() / "exception").read_text(encoding="utf-8")[:200]
    return f"status {status}"


def _shown(moments: list[float]) -> str:
    return ", ".join(f"{moment:.3f}" for moment in moments)


@contextlib.contextmanager
def _served(name: str) -> Iterator[dict[str, str]]:
    """Yield the environment of a command; that of a download has a hub."""
    if name != "download":
        yield {}
        return
    from loopback_hub import loopback_hub

    with loopback_hub() as hub:
        hub.commit("owner/model", model_files())
        yield {"endpoint": hub.url}


def _run(name: str, folder: Path, environment: dict[str, str], *, kill_after: float | None = None) -> int:
    """Run a command in a process of its own, in a folder; return its status, or -9 if it was killed in time."""
    inputs = _inputs()
    pid = os.fork()
    if pid == 0:
        try:
            status = _command(name, folder, inputs, environment)
        except BaseException as error:
            (inputs / "exception").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            status = _RAISED
        os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _command(name: str, folder: Path, inputs: Path, environment: dict[str, str]) -> int:
    from endofm.cli.main import main

    os.chdir(folder)
    if environment:
        import pytest

        from loopback_hub import point_client

        point_client(pytest.MonkeyPatch(), environment["endpoint"], folder / "home")
    return main(COMMANDS[name].format(inputs=inputs).split())


def _contents(folder: Path) -> dict[str, str]:
    """Return every file below a folder with a digest of its content, without what differs between equal runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = str(path.relative_to(folder))
        if path.is_dir() or path.name == ".endofm-lock" or relative.startswith("home/hub/.locks"):
            continue
        if "events.out" in path.name:
            continue  # one per start, named by clock and process
        content = path.read_bytes().replace(os.fsencode(folder), b"FOLDER")
        if path.suffix in (".json", ".csv", ".md", ".yaml", ".txt", ".log", ".jsonl"):
            content = _without_times(path.name, content)
        if path.name == "README.md":
            # Cards of trained models state the hours of training.
            content = re.sub(rb"[0-9][0-9.,:]*(e[-+][0-9]+)?", b"#", content)
        if path.name in _CLOCKED:
            content = b""
        digest = _tensor_digest(path) if path.suffix == ".pt" else hashlib.sha256(content).hexdigest()
        found[relative] = digest
    return found


def _tensor_digest(path: Path) -> str:
    """Return a digest of the tensors of a run's checkpoint, which also holds times and the state of the record."""
    from torch import Tensor, uint8

    from endofm.training.engine.run_checkpoints import read_run_checkpoint

    digest = hashlib.sha256()

    def add(name: str, value: object) -> None:
        if isinstance(value, Tensor):
            digest.update(name.encode() + value.cpu().reshape(-1).view(dtype=uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                add(f"{name}.{key}", value[key])
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                add(f"{name}.{index}", item)

    add("", read_run_checkpoint(path))
    return digest.hexdigest()


def _without_times(name: str, content: bytes) -> bytes:
    """Blank numbers of seconds and speeds, which the clock decides."""
    text = content.decode("utf-8")
    if name.endswith(".json"):
        text = json.dumps(_blank(json.loads(text)))
    elif name in ("train.csv", "validation.csv"):
        lines = [line.split(",") for line in text.splitlines()]
        clocks = (
            {i for i, column in enumerate(lines[0]) if re.search(r"second|time|per_s|memory|wait", column)}
            if lines
            else set()
        )
        text = "\n".join(",".join("" if i in clocks else cell for i, cell in enumerate(line)) for line in lines)
    return text.encode()


def _blank(value: object) -> object:
    if isinstance(value, dict):
        clock = re.compile(r"elapsed|duration|started|finished|wall|date|created|hostname|memory|per_second|resumed")
        return {key: None if clock.search(key) else _blank(item) for key, item in value.items()}
    return [_blank(item) for item in value] if isinstance(value, list) else value


def _difference(expected: dict[str, str], found: dict[str, str]) -> str:
    parts = {
        "missing": sorted(set(expected) - set(found)),
        "left over": sorted(set(found) - set(expected)),
        "different": sorted(name for name in set(expected) & set(found) if expected[name] != found[name]),
    }
    return "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in parts.items() if names)
