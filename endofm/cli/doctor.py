"""``endofm doctor``: check of the installation and its capabilities."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from endofm.cli.printing import say

SUMMARY = "check the installation: packages, devices, codecs, cache, a trial run"
EXAMPLES = ("endofm doctor",)

State = Literal["ok", "note", "fail"]

PACKAGES = ("torch", "av", "numpy", "pillow", "huggingface_hub", "safetensors")
EXTRAS = {"dicom": "pydicom", "parquet": "pyarrow", "h5": "h5py", "viz": "matplotlib", "export": "onnxruntime"}
DECODERS = ("h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "vp9", "av1", "gif", "prores", "wmv3")


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    state: State
    text: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings; the status is 1 if one of them prevents the package from working."""
    findings: list[Finding] = []
    for check in (_packages, _devices, _precisions, _codecs, _cache, _trial):
        try:
            findings.extend(check())
        # A broken dependency may raise any exception, and this command has to report it.
        except Exception as error:
            findings.append(Finding(check.__name__.strip("_"), "fail", f"{type(error).__name__}: {error}"))
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            say(f"{finding.state:<4}  {finding.topic:<9}  {finding.text}")
    return int(any(finding.state == "fail" for finding in findings))


def _packages() -> Iterator[Finding]:
    import endofm

    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}, {sys.executable}")
    yield Finding("endofm", "ok", f"{endofm.__version__} in {Path(endofm.__file__).parent}")
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "fail", f"not installed; run: pip install {name}")
    for extra, module in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            yield Finding("extra", "note", f'{extra} is not installed; to add it: pip install "endofm[{extra}]"')
        else:
            yield Finding("extra", "ok", extra)


def _devices() -> Iterator[Finding]:
    import torch

    from endofm.kernels import native, native_products
    from endofm.transforms import picking

    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("cpu", "ok", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads for torch, {capability}")
    if missing := native.why_no_attention():
        yield Finding("attention", "note", f"no compiled kernels, PyTorch's operators are used: {missing}")
    else:
        yield Finding("attention", "ok", f"compiled kernels, {native.attention_lanes()} numbers at a time")
    if not (missing := native_products.why_no_split()):
        yield Finding("products", "ok", "float32 products use the matrix unit (AMX), compiled kernel")
    elif native_products.panels_are_widest():
        yield Finding("products", "ok", "float32 products use AVX2, compiled kernel")
    else:
        yield Finding("products", "note", f"no compiled float32 products, PyTorch's library is used: {missing}")
    if missing := picking.why_no_picking():
        yield Finding("pixels", "note", f"whole frames are converted to RGB: {missing}")
    else:
        yield Finding("pixels", "ok", "only the needed pixels of 8-bit 4:2:0 video become RGB, compiled kernel")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding("cuda", "ok", f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.cuda.device_count() == 0:
        yield Finding("cuda", "note", "no CUDA device; models run on the CPU")
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU available as device 'mps'")


def _precisions() -> Iterator[Finding]:
    from endofm.kernels.int8 import can_multiply_int8
    from endofm.kernels.precision import FASTER, PRECISIONS, product_speed

    speeds = {name: product_speed(name) for name in PRECISIONS if name != "int8" or can_multiply_int8()}
    others = ", ".join(f"{name} {speed:.2g}x" for name, speed in speeds.items() if name != "exact")
    fastest = max(speeds, key=speeds.__getitem__)
    if speeds[fastest] < FASTER:
        fastest = "exact"
    yield Finding("precision", "ok", f"{fastest} is fastest on this processor (products, against exact: {others})")


def _codecs() -> Iterator[Finding]:
    import av

    missing = [name for name in DECODERS if name not in av.codecs_available]
    yield Finding("codecs", "ok", "decodes " + ", ".join(name for name in DECODERS if name not in missing))
    if missing:
        yield Finding("codecs", "note", f"this build of PyAV does not decode {', '.join(missing)}")


def _cache() -> Iterator[Finding]:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    # The cache folder is created at the first download; until then its nearest existing parent decides.
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 2**30
    writable = os.access(existing, os.W_OK)
    yield Finding(
        "cache",
        "ok" if writable else "fail",
        f"{folder}, {free:.0f} GiB free"
        if writable
        else f"{folder} cannot be written; set HF_HOME to a folder that can",
    )
    if constants.HF_HUB_OFFLINE:
        yield Finding("network", "note", "HF_HUB_OFFLINE is set: only weights in the cache or on disk can be loaded")
    else:
        yield Finding("network", "ok", f"weights are downloaded from {constants.ENDPOINT} (not contacted now)")


def _trial() -> Iterator[Finding]:
    import tempfile
    import warnings

    import numpy as np

    from endofm import EndoFM
    from endofm.errors import UntrainedWeightsWarning
    from endofm.video.writer import write_video

    # Two seconds of a square that brightens, written, read and embedded as a user's video would be.
    frames = np.zeros((16, 64, 96, 3), np.uint8)
    frames[:, 16:48, 32:64] = np.linspace(0, 255, 16, dtype=np.uint8)[:, None, None, None]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWeightsWarning)
        path = Path(folder) / "trial.mp4"
        write_video(path, frames, fps=8)
        model = EndoFM.from_pretrained("endofm-tiny-8x224-random")
        features = model.extract_features(path, window_seconds=1.0, progress=False)
    sound = features.embeddings.shape == (2, model.embed_dim) and bool(np.isfinite(features.embeddings).all())
    yield Finding(
        "trial",
        "ok" if sound else "fail",
        "a rendered clip was written, decoded and embedded"
        if sound
        else f"embedding a rendered clip gave {features.embeddings.shape}",
    )
