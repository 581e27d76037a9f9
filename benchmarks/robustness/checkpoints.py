"""Attacks on what weights are stored in: names and entries as training loops choose them, types, adapters, and bytes.

A checkpoint of a wrapped or compiled model, in an entry of any name, with any objects beside it, must load to the
tensors that were saved; one with two networks must be refused. A tensor of a type that networks do not compute in must
be refused wherever it is. Equal work must give equal bytes with the permissions of the umask.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from random import Random
from typing import Any

from benchmarks.robustness.sandbox import Outcome

_FRONT = ("module.", "_orig_mod.", "model.", "net.", "network.", "encoder.", "_fsdp_wrapped_module.")
_INSIDE = ("_orig_mod", "module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
_ENTRIES = (
    *("model", "state_dict", "model_state_dict", "model_state", "net", "network", "module", "weights", "ema", "params"),
    *("backbone", "encoder_state", "teacher", "student", "checkpoint", "0", "ä b"),
)
_TYPES = (
    *("int8", "uint8", "int16", "int32", "int64", "bool", "complex64", "float8_e4m3fn", "float8_e5m2"),
    *("float16", "bfloat16", "float64"),
)
_ABSURD: tuple[Any, ...] = (None, 0, -1, 10**9, 10**400, 0.5, "", "x" * 10**5, [], [1] * 100, {}, {"a": 1}, True)
_COMPUTED = ("float16", "bfloat16", "float64")


def attack_names(files: Mapping[str, Any], rng: Random, folder: Path) -> tuple[Outcome, str]:
    """Store tensors as some training loop does, and load them."""
    import torch
    from safetensors.torch import save_file

    from endofm import EndoFM
    from endofm.errors import CheckpointFormatError, EndoFMError

    tensors = files["tensors"]
    named = _wrapped(tensors, rng)
    if rng.random() < 0.3:
        named |= {"head.weight": torch.zeros(2, 64), "n_averaged": torch.tensor(3)}
    entry = rng.choice((*_ENTRIES, ""))
    detail = f"{entry!r}: {', '.join(list(named)[:2])}"
    content: dict[Any, Any] = dict(named)
    if not entry and rng.random() < 0.4:
        path = folder / "x.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in named.items()}, path)
    else:
        path = folder / f"x{rng.choice(('.pth', '.pt', '.ckpt', '.bin', '.tar'))}"
        content = {**(named if not entry else {entry: named}), **_beside(rng)}
        if entry and rng.random() < 0.15 and entry not in ("teacher", "student"):
            content["another"] = {name: tensor + 1 for name, tensor in tensors.items()}
        if entry and rng.random() < 0.2:
            content = {"outer": content, "epoch": 1}
        torch.save(content, path)
        if "another" in content or "another" in content.get("outer", {}):
            try:
                EndoFM.from_pretrained(path)
            except CheckpointFormatError as error:
                if "another" in str(error):
                    return Outcome.ERROR, str(error)
            return Outcome.SILENT, f"one of two networks was loaded or not named: {detail}"
    try:
        loaded = EndoFM.from_pretrained(path).state_dict()
    except EndoFMError as error:
        # A tensor among those of the network that is none of them: loading is strict and names it.
        if not entry and "mean" in content and "1 unexpected: mean" in str(error):
            return Outcome.ERROR, str(error)
        # Not damaged: a refusal is a fault here, and counts as an exception that nothing should have raised.
        raise AssertionError(f"refused: {detail}") from error
    if not all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items()):
        return Outcome.SILENT, f"other tensors were loaded: {detail}"
    return Outcome.OK, detail


def attack_types(files: Mapping[str, Any], rng: Random, folder: Path) -> tuple[Outcome, str]:
    """Give one tensor another type, in any kind of file."""
    import torch
    from safetensors.torch import save_file

    from endofm import EndoFM

    name, kind = rng.choice(list(files["tensors"])), rng.choice(_TYPES)
    values = {**files["tensors"]}
    if rng.random() < 0.2:
        return _attack_adapter_type(files, getattr(torch, kind), folder)
    values[name] = (values[name] * 3).to(getattr(torch, kind))
    path = folder
    form = rng.choice(("folder", "safetensors", "pth"))
    if form == "folder":
        (folder / "config.json").write_bytes(files["config.json"])
        save_file(values, folder / "model.safetensors")
    elif form == "safetensors":
        path = folder / "x.safetensors"
        save_file(values, path)
    else:
        path = folder / "x.pth"
        torch.save({"model": values}, path)
    loaded = EndoFM.from_pretrained(path).state_dict()[name]
    if kind not in _COMPUTED:
        return Outcome.SILENT, f"{name} of type {kind} was loaded from a {form}"
    rounded = torch.equal(loaded, values[name].float())
    return (Outcome.OK if rounded else Outcome.SILENT), f"{name} of type {kind} in a {form}"


def attack_adapter(files: Mapping[str, Any], rng: Random, folder: Path) -> tuple[Outcome, str]:
    """Damage the description in an adapter's header: a value of it is replaced by an absurd one."""
    from safetensors.torch import load, save_file

    from endofm.training.transfer.adapter_file import load_adapter

    metadata = _metadata(files["adapter"])
    about = json.loads(metadata["endofm_adapter"])
    part, keys = about, []
    while isinstance(part, dict) and part and (not keys or rng.random() < 0.7):
        keys.append(rng.choice(list(part)))
        parent, part = part, part[keys[-1]]
    parent[keys[-1]] = rng.choice(
        (None, 0, -1, 10**9, 10**400, 0.5, "", "x" * 10**5, [], [1] * 100, {}, {"a": 1}, True)
    )
    text = rng.choice((json.dumps(about), "[" * 100_000)) if rng.random() < 0.1 else json.dumps(about)
    save_file(load(files["adapter"]), folder / "x.safetensors", metadata={**metadata, "endofm_adapter": text})
    model = load_adapter(folder / "x.safetensors", files["model"])
    same = model.backbone.cls_token.equal(files["tensors"]["cls_token"])
    # Another name, licence or label, or another threshold, is what the description says then.
    return (Outcome.OK if same else Outcome.SILENT), ".".join(keys)


def attack_bytes(files: Mapping[str, Any], rng: Random, folder: Path) -> tuple[Outcome, str]:
    """Write weights and features once more, in another process and under another umask."""
    umask = rng.choice((0o002, 0o022, 0o027, 0o077))
    os.umask(umask)
    written = [*files["model"].save_pretrained(folder / "m").iterdir()]
    suffix = rng.choice((".safetensors", ".npz", ".parquet", ".h5"))
    written.append(files["features"].save(folder / f"features{suffix}"))
    for path in written:
        expected = files[path.name if path.parent.name == "m" else suffix]
        if path.read_bytes() != expected:
            return Outcome.SILENT, f"{path.name} has other bytes than in the first process"
        if path.stat().st_mode & 0o777 != 0o666 & ~umask:
            return Outcome.SILENT, f"{path.name} has the mode {path.stat().st_mode:o} under the umask {umask:o}"
    return Outcome.OK, f"{suffix}, umask {umask:o}"


def _attack_adapter_type(files: Mapping[str, Any], dtype: Any, folder: Path) -> tuple[Outcome, str]:
    from safetensors.torch import load, save_file

    from endofm.training.transfer.adapter_file import load_adapter

    tensors = load(files["adapter"])
    name = next(iter(tensors))
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, folder / "x.safetensors", metadata=_metadata(files["adapter"]))
    load_adapter(folder / "x.safetensors", files["model"])
    allowed = str(dtype).removeprefix("torch.") in _COMPUTED
    return (Outcome.OK if allowed else Outcome.SILENT), f"an adapter with {name} of type {dtype}"


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata


def _wrapped(tensors: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """Return tensors by the names that wrappers around the model, and around one module inside, would give them."""
    front = "".join(rng.choice(_FRONT) for _ in range(rng.randrange(4))) + rng.choice(("", "backbone."))
    inside = rng.choice(("", "blocks.1.", "blocks.0.attn.", "blocks.0.mlp.fc1.", "patch_embed.", "norm."))
    wrapper = rng.choice(_INSIDE)
    return {
        front + (name.replace(inside, f"{inside}{wrapper}.", 1) if inside and name.startswith(inside) else name): tensor
        for name, tensor in tensors.items()
    }


def _beside(rng: Random) -> dict[str, Any]:
    """Return objects that training loops store beside the weights."""
    import numpy as np
    import torch

    objects: dict[str, Any] = {
        "args": argparse.Namespace(out=Path("runs/1"), data=PureWindowsPath("c:/x"), lr=np.float32(0.1)),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": np.float64(0.1)}]},
        "history": np.arange(6.0).reshape(2, 3),
        "names": np.array(["polyp", None], dtype=object),
        "when": datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.timezone.utc),
        "counts": collections.Counter("aab"),
        "losses": collections.defaultdict(list, {"train": [0.1]}),
        "rng": np.random.RandomState(0).get_state(),
        "epoch": 3,
        "mean": torch.zeros(3),
    }
    return {name: objects[name] for name in rng.sample(sorted(objects), rng.randrange(5))}
