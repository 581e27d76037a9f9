"""Attacks on every other file that is read: settings, manifests, sets, shards, adapters, checkpoints, feature files.

A file is damaged, or one of its values becomes absurd, or it is built to ask for more than a machine has or to name
what it must not. It may be refused or read; no process may start and no connection may be opened meanwhile.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.robustness.sandbox import Case, Outcome, generator
from benchmarks.robustness.small_model import small_model
from benchmarks.robustness.videos import MUTATIONS

Read = Callable[[Path], object]

ABSURD: tuple[Any, ...] = (
    10**9, 10**18, 10**400, -1, 0, 1e308, 1e-300, 2**63, float("nan"), float("inf"), None, True, [], {}, [[[[]]]],
    [1] * 1000, {"a": {"b": 1}}, "", "x" * 10**6, "\x00", "../../x", "/etc/passwd", "\ud800", "=1+1",
)  # fmt: skip

_ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
YAML_BOMBS = (
    "a: " + "[" * 50_000, "a: " + "{b: " * 20_000, "? " * 20_000, "- " * 50_000, _ALIASES, _ALIASES + "run: *a9\n",
    "a: &a [*a]\n", "run: &r\n  <<: *r\n", "run: !!python/object/apply:os.system ['touch /tmp/x']\n",
    "run: !!binary " + "A" * 10**6, "a: 1\na: 2\n", "%TAG ! tag:x,2000:\n---\na: 1", "a: 0x" + "f" * 50_000,
    "a: " + "9" * 50_000, "a: 1:" + "59:" * 20_000 + "1", "\ufeffa: 1", "a: \x00", "run: {epochs: 2001-99-99}",
    "a: !!timestamp x", "? [a, b]\n: 1", "a: *nothing", "a: |\n" + "x" * 10**6, "a: &" + "x" * 10**5 + " 1",
)  # fmt: skip
JSON_BOMBS = (
    "[" * 100_000,
    '{"a":' * 50_000 + "1",
    "9" * 10**5,
    '{"a": 1e999}',
    '{"a": NaN}',
    "\ufeff{}",
    '{"a": 1, "a": 2}',
    "",
    "null",
    "1",
)


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks on files, spread evenly over kinds of files."""
    names = list(_targets())
    for number in range(count):
        name = names[number % len(names)]
        yield Case(f"files {name}", f"#{number} seed {seed}", _bind(name, number, seed))


def _bind(name: str, number: int, seed: int) -> Callable[[], tuple[Outcome, str]]:
    def run() -> tuple[Outcome, str]:
        rng = generator(seed, "files", number)
        file_name, content, read = _targets()[name]
        what, content = _attacked(name, content, rng)
        events = watched_events()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file_name
            path.write_bytes(content)
            try:
                read(path)
            finally:
                started = list(events)
                events.clear()
            if started:
                return Outcome.FOREIGN, f"{what}: {started[0]}"
            left = [entry.name for entry in Path(folder).iterdir() if entry != path]
            return (Outcome.SILENT, f"{what}: wrote {left}") if left else (Outcome.OK, what)

    return run


def _attacked(name: str, content: bytes, rng: Random) -> tuple[str, bytes]:
    """Return how a file was changed, and the changed file."""
    text = Path(_targets()[name][0]).suffix in (".json", ".yaml")
    if not text or rng.random() < 0.25:
        kind = rng.choice(list(MUTATIONS))
        if name == "HDF5" and rng.random() < 0.5:
            return _hostile_hdf5(rng)
        return kind, bytes(MUTATIONS[kind](bytearray(content), rng))
    yaml = name.endswith("settings")
    if rng.random() < 0.3:
        bomb = rng.choice(YAML_BOMBS if yaml else JSON_BOMBS)
        return f"bomb {bomb[:30]!r}", bomb.encode("utf-8")
    if yaml:
        import yaml as yaml_module

        values = yaml_module.safe_load(content)
    else:
        values = json.loads(content)
    place = _replace(values, rng)
    return f"absurd {place}", json.dumps(values).encode()  # JSON is YAML


def _replace(values: Any, rng: Random) -> str:
    """Replace one value, at any depth, by an absurd one; return where."""
    place = ""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        key = rng.choice(keys)
        place += f"/{key}"
        if isinstance(values[key], (dict, list)) and values[key] and rng.random() < 0.8:
            values = values[key]
            continue
        value = rng.choice(ABSURD)
        if rng.random() < 0.15 and isinstance(values, dict):
            del values[key]
            return f"{place} removed"
        values[key] = value
        return f"{place} = {repr(value)[:30]}"


@lru_cache(maxsize=1)
def watched_events() -> list[str]:
    """Return the list to which programs that are started and connections that are opened are added from now on."""
    events: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind"):
            events.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(hook)
    return events


def _hostile_hdf5(rng: Random) -> tuple[str, bytes]:
    """Return a feature file that refers to other files, or states more than it holds."""
    import h5py
    import numpy as np

    kind = rng.choice(
        ("external link", "soft link", "external storage", "virtual", "huge", "compressed", "text", "attributes")
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        path.write_bytes(_targets()["HDF5"][1])
        with h5py.File(path, "r+") as file:
            names: list[str] = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            name = rng.choice(names)
            old = file[name]
            shape, kind_of_number = old.shape, old.dtype
            if kind == "attributes":
                key = rng.choice(list(file.attrs) or ["x"])
                file.attrs[key] = rng.choice(("[" * 30_000, "{", 5, np.zeros(4000)))
            else:
                del file[name]
            if kind == "external link":
                file[name] = h5py.ExternalLink("/etc/passwd", "/x")
            elif kind == "soft link":
                file[name] = h5py.SoftLink(rng.choice((f"/{name}", "/nowhere")))
            elif kind == "external storage":
                file.create_dataset(name, (64,), "u1", external=[("/etc/passwd", 0, 64)])
            elif kind == "virtual":
                layout = h5py.VirtualLayout((64,), "u1")
                layout[:] = h5py.VirtualSource("/etc/passwd", "x", (64,))
                file.create_virtual_dataset(name, layout)
            elif kind in ("huge", "compressed"):
                big = (rng.choice((10**9, 10**12)), *shape[1:])
                file.create_dataset(
                    name, big, kind_of_number, chunks=True, compression="gzip" if kind == "compressed" else None
                )
            elif kind == "text":
                file.create_dataset(name, data=["a"] * 3)
        return f"{kind} {name}", path.read_bytes()


@lru_cache(maxsize=1)
def _targets() -> dict[str, tuple[str, bytes, Read]]:
    """Return what is attacked: name of a file, an undamaged one, and the function that reads it."""
    import numpy as np
    import torch

    from endofm import VideoFeatures
    from endofm.data.detection.coco import read_coco
    from endofm.data.shard_files import read_index, read_shard
    from endofm.inference.job_manifest import read_entries
    from endofm.training.config_files import load_config, to_yaml
    from endofm.training.engine.run_checkpoints import CheckpointFolder, read_run_checkpoint
    from endofm.training.finetune.classification_config import ClassificationConfig
    from endofm.training.pretrain_config import PretrainConfig
    from endofm.training.transfer.adapter_file import load_adapter, save_adapter
    from endofm.training.transfer.methods import named_transfer
    from helpers.transferred_classifier import base, trained

    features = small_model().extract_features(
        np.zeros((20, 40, 48, 3), np.uint8), fps=10, window_seconds=1, progress=False
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        features.save(folder / "features.h5")
        adapter = save_adapter(trained("st-adapter"), named_transfer("st-adapter"), folder)
        files = {"h5": (folder / "features.h5").read_bytes(), "adapter": adapter.read_bytes()}
    step = io.BytesIO()
    torch.save({"format_version": 1, "model": {"weight": torch.ones(300)}, "step": 3, "seed": [1, 2]}, step)
    row = {
        "source": "a.mp4",
        "output": "a.mp4.npz",
        "status": "done",
        "size_bytes": 5,
        "modified": 7,
        "problems": [],
        "error": "",
    }
    manifest = {"format_version": 1, "settings": {"level": "clip", "model": {"name": "x"}}, "videos": [row, dict(row)]}
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48, "video_id": 1, "frame_id": 0}],
        "videos": [{"id": 1, "name": "v", "fps": 25.0}],
        "categories": [{"id": 1, "name": "polyp"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 12], "iscrowd": 0, "track_id": 1}
        ],
    }
    shards = {"shards": [{"name": "clips-00000.tar", "clips": 3}], "classes": ["a", "b"]}

    def settings(cls: type[Any], data: str) -> tuple[str, bytes, Read]:
        whole = to_yaml(load_config(cls, None, [data]))
        return "run.yaml", whole.encode(), lambda path: load_config(cls, path, [data])

    def checkpoint(path: Path) -> object:
        newest, _ = CheckpointFolder(path.parent).newest_intact()
        content = read_run_checkpoint(newest or path)
        assert torch.equal(content["model"]["weight"], torch.ones(300)), "other weights"
        return content

    encoder = base()
    return {
        "pre-training settings": settings(PretrainConfig, "data.clips=clips"),
        "fine-tuning settings": settings(ClassificationConfig, "data.train=train.csv"),
        "job manifest": ("manifest.json", json.dumps(manifest).encode(), lambda path: read_entries(path.parent)),
        "COCO": ("set.json", json.dumps(coco).encode(), lambda path: read_coco(path, fps=25.0, clip=True)),
        "shard index": ("shards.json", json.dumps(shards).encode(), lambda path: read_index(str(path.parent))),
        "shard": ("clips.tar", _shard(), lambda path: list(read_shard(str(path), 3))),
        "adapter": ("adapter.safetensors", files["adapter"], lambda path: load_adapter(path, encoder)),
        "run checkpoint": ("step-00000003.pt", step.getvalue(), checkpoint),
        "HDF5": ("features.h5", files["h5"], VideoFeatures.load),
    }


def _shard() -> bytes:
    import tarfile

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for number in range(3):
            described = json.dumps(
                {"name": f"{number}.mp4", "label": 0, "patient": "", "source": "", "start": 0.0, "end": 1.0}
            )
            for suffix, data in ((".mp4", bytes(600)), (".json", described.encode())):
                member = tarfile.TarInfo(f"{number:08}{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return content.getvalue()
