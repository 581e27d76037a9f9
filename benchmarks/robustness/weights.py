"""Attacks on weight files, configurations and feature files.

A damaged file may be refused, or must load to exactly the tensors that were saved. safetensors files have no checksums
inside, so changed bytes within their tensor data are undetectable unless a record or the hub states a checksum; the
zip archives of PyTorch and NumPy have them, and there a change that loads is silent damage.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.robustness.checkpoints import attack_adapter, attack_bytes, attack_names, attack_types
from benchmarks.robustness.sandbox import Case, Outcome, generator
from benchmarks.robustness.videos import MUTATIONS

FEATURE_SUFFIXES = (".safetensors", ".npz", ".parquet", ".h5")


@lru_cache(maxsize=1)
def _material() -> dict[str, Any]:
    """Return undamaged files by name, and what they hold."""
    import numpy as np
    import torch

    from endofm import EncoderConfig, EndoFM, EndoFMForVideoClassification, ModelConfig, PreprocessConfig
    from endofm.tasks.classification.config import ClassificationHeadConfig
    from endofm.training.transfer.adapter_file import save_adapter
    from endofm.training.transfer.methods import apply_transfer

    encoder = EncoderConfig(embed_dim=64, depth=2, num_heads=1, img_size=32, num_frames=2)
    preprocess = PreprocessConfig(num_frames=2, crop_size=32, short_side=32)
    torch.manual_seed(0)
    model = EndoFM(ModelConfig(encoder=encoder, preprocess=preprocess, name="attacked"))
    files: dict[str, Any] = {"tensors": {name: value.clone() for name, value in model.state_dict().items()}}
    files["model"] = model.eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder)
        for path in list(folder.iterdir()):
            files[path.name] = path.read_bytes()
        torch.save({"model": model.state_dict()}, folder / "model.pth")
        files["model.pth"] = (folder / "model.pth").read_bytes()
        features = model.extract_features(
            np.zeros((20, 40, 48, 3), np.uint8), fps=10, window_seconds=1.0, progress=False
        )
        files["embeddings"], files["features"] = features.embeddings, features
        for suffix in FEATURE_SUFFIXES:
            features.save(folder / f"features{suffix}")
            files[suffix] = (folder / f"features{suffix}").read_bytes()
        head = ClassificationHeadConfig(labels=("normal", "polyp"))
        classifier = EndoFMForVideoClassification.from_backbone(model, head)
        adapter = save_adapter(classifier, apply_transfer(classifier, "st-adapter"), folder)
        files["adapter"] = adapter.read_bytes()
    return files


def _bomb(values: dict[str, Any], rng: Random) -> str:
    """Return a configuration with one absurd value, or nested or repeated beyond reason."""
    kind = rng.randrange(6)
    if kind == 0:
        return "[" * rng.choice((2000, 100_000))
    if kind == 1:
        return '{"encoder":' * rng.choice((500, 50_000)) + "1"
    part = rng.choice(("encoder", "preprocess", "top"))
    target = values if part == "top" else values[part]
    key = rng.choice(list(target))
    choices: list[Any] = [
        10**9,
        10**18,
        10**400,
        -1,
        0,
        1e308,
        float("nan"),
        float("inf"),
        None,
        [],
        {},
        "",
        "x" * 10**6,
    ]
    choices += ["x" * 10**6, True, [1] * 1000, {"a": {"b": 1}}, "\x00", "../../x", 2**63, -(2**63), 1e-300]
    target[key] = rng.choice(choices)
    return json.dumps(values)


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks on weight files (seven of twelve), configurations (one) and feature files (four)."""
    _material()
    targets: list[tuple[str, Callable[[int, int, str], tuple[Outcome, str]]]] = [
        ("weights safetensors", _attack_safetensors),
        ("features .safetensors", _attack_features(".safetensors")),
        ("weights pth", _attack_pth),
        ("features .npz", _attack_features(".npz")),
        ("configuration", _attack_config),
        ("features .parquet", _attack_features(".parquet")),
        ("weights pth members", _attack_members),
        ("features .h5", _attack_features(".h5")),
        ("names in checkpoints", _stored(attack_names)),
        ("types of tensors", _stored(attack_types)),
        ("adapters", _stored(attack_adapter)),
        ("equal bytes", _stored(attack_bytes)),
    ]
    kinds = list(MUTATIONS)
    for number in range(count):
        label, attack = targets[number % len(targets)]
        kind = kinds[(number // len(targets)) % len(kinds)]
        yield Case(label, f"{kind} #{number} seed {seed}", _bind(attack, number, seed, kind))


def _bind(
    attack: Callable[[int, int, str], tuple[Outcome, str]], number: int, seed: int, kind: str
) -> Callable[[], tuple[Outcome, str]]:
    return lambda: attack(number, seed, kind)


def _stored(
    attack: Callable[[Mapping[str, Any], Random, Path], tuple[Outcome, str]],
) -> Callable[[int, int, str], tuple[Outcome, str]]:
    def run(number: int, seed: int, _: str) -> tuple[Outcome, str]:
        with tempfile.TemporaryDirectory() as name:
            return attack(_material(), generator(seed, "weights", number), Path(name))

    return run


def _attack_safetensors(number: int, seed: int, kind: str) -> tuple[Outcome, str]:
    damaged = MUTATIONS[kind](bytearray(_material()["model.safetensors"]), generator(seed, "weights", number))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_bytes(_material()["config.json"])
        (folder / "model.safetensors").write_bytes(damaged)
        return _judge_weights(folder, checked=False)


def _attack_pth(number: int, seed: int, kind: str) -> tuple[Outcome, str]:
    damaged = MUTATIONS[kind](bytearray(_material()["model.pth"]), generator(seed, "weights", number))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.pth"
        path.write_bytes(damaged)
        return _judge_weights(path, checked=True)


def _attack_members(number: int, seed: int, kind: str) -> tuple[Outcome, str]:
    """Damage the pickle inside the archive and give the archive the right checksums again."""
    rng = generator(seed, "weights", number)
    with tempfile.TemporaryDirectory() as name:
        path, original = Path(name) / "model.pth", Path(name) / "original.pth"
        original.write_bytes(_material()["model.pth"])
        with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target:
            for member in source.infolist():
                content = source.read(member)
                if member.filename.endswith("data.pkl"):
                    content = bytes(MUTATIONS[kind](bytearray(content), rng))
                target.writestr(member.filename, content)
        # The archive vouches for whatever the pickle says now: other values are what the file holds.
        return _judge_weights(path, checked=False)


def _attack_config(number: int, seed: int, kind: str) -> tuple[Outcome, str]:
    import numpy as np

    from endofm import EndoFM

    rng, material = generator(seed, "weights", number), _material()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.safetensors").write_bytes(material["model.safetensors"])
        if rng.random() < 0.5:
            (folder / "config.json").write_bytes(MUTATIONS[kind](bytearray(material["config.json"]), rng))
        else:
            (folder / "config.json").write_text(_bomb(json.loads(material["config.json"]), rng), encoding="utf-8")
        model = EndoFM.from_pretrained(folder)
        frames = np.zeros((8, 40, 48, 3), np.uint8)
        features = model.extract_features(frames, fps=10, window_seconds=0.4, progress=False)
        # A changed value that is valid makes another model; nothing in the file says that it was meant otherwise.
        return Outcome.OK, f"{features.embeddings.shape}"


def _judge_weights(path: Path, *, checked: bool) -> tuple[Outcome, str]:
    import torch

    from endofm import EndoFM

    loaded, expected = EndoFM.from_pretrained(path).state_dict(), _material()["tensors"]
    if all(torch.equal(loaded[name], value) for name, value in expected.items()):
        return Outcome.OK, ""
    if not all(bool(torch.isfinite(value).all()) for value in loaded.values()):
        return Outcome.SILENT, "weights that are not finite were loaded"
    return (Outcome.SILENT if checked else Outcome.UNDETECTABLE), "other values were loaded"


def _attack_features(suffix: str) -> Callable[[int, int, str], tuple[Outcome, str]]:
    def attack(number: int, seed: int, kind: str) -> tuple[Outcome, str]:
        import numpy as np

        from endofm import VideoFeatures

        damaged = MUTATIONS[kind](bytearray(_material()[suffix]), generator(seed, "weights", number))
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / f"features{suffix}"
            path.write_bytes(damaged)
            features = VideoFeatures.load(path)
        if np.array_equal(features.embeddings, _material()["embeddings"]):
            return Outcome.OK, ""
        return (Outcome.SILENT if suffix == ".npz" else Outcome.UNDETECTABLE), "other values were loaded"

    return attack
