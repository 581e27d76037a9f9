"""One writer and one runner per format; the runner reads the file that was written, as its users will."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from endofm.errors import InputError, require_extra
from endofm.export.network import ExportedNetwork

Format = Literal["onnx", "openvino", "torch-export"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
PACKAGES: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "torch-export": (),
}

Runner = Callable[[Tensor], list[Tensor]]


def check_format(to: Format, target: Path) -> None:
    """Raise unless the format is known, its packages are installed and the file has its suffix.

    Raises:
        InputError: If one of that does not hold.
    """
    if to not in FORMATS:
        raise InputError(f"the format must be one of {', '.join(FORMATS)}, got {to!r}")
    if target.suffix != SUFFIXES[to]:
        raise InputError(f"{target}: a file of the format {to} ends in {SUFFIXES[to]}")
    for package in PACKAGES[to]:
        require_extra(package, "export", f"Writing and checking {to} files")


def write(network: ExportedNetwork, to: Format, target: Path, *, metadata: dict[str, str]) -> None:
    """Write the network; the batch may have any size, frames, height and width are those of the configuration."""
    with _quiet():
        if to == "onnx":
            _write_onnx(network, target, metadata)
            return
        program = _program(network)
        if to == "torch-export":
            torch.export.save(program, target, extra_files=dict(metadata))
            return
        import openvino

        model = openvino.convert_model(program)
        for output, name in zip(model.outputs, network.output_names, strict=True):
            output.get_tensor().set_names({name})
        for key, value in metadata.items():
            model.set_rt_info(value, ["endofm", key])
        openvino.save_model(model, target, compress_to_fp16=False)


def load_runner(to: Format, path: Path) -> Runner:
    """Return a function that runs the file on clips, in float32 on the CPU."""
    if to == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda clip: [torch.from_numpy(out) for out in session.run(None, {name: clip.numpy()})]
    if to == "openvino":
        import openvino

        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda clip: [torch.from_numpy(out.copy()) for out in compiled([clip.numpy()]).values()]
    module = torch.export.load(path).module()

    def run(clip: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return list(module(clip))

    return run


def _program(network: ExportedNetwork) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    return torch.export.export(network, (network.example(2),), dynamic_shapes=({0: batch},), strict=False)


def _write_onnx(network: ExportedNetwork, target: Path, metadata: dict[str, str]) -> None:
    program: Any = torch.onnx.export(
        network,
        (network.example(2),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        input_names=["clip"],
        output_names=network.output_names,
        verbose=False,
    )
    program.model.metadata_props.update(metadata)
    program.save(target, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks on their own code away from users."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
