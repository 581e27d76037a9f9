"""Export of encoders as ONNX, OpenVINO, ExecuTorch or ``torch.export`` files, checked against the model.

Each format has one writer and one runner; the runner reads the written file as its users will.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from endofm._version import __version__
from endofm.config.mamba_config import MambaConfig
from endofm.errors import EndoFMError, InputError, quoted, require_extra
from endofm.files import require_writable
from endofm.hub.licence import require_accepted
from endofm.kernels.backend import is_plain_linear
from endofm.layers.block import DividedSpaceTimeBlock
from endofm.models.encoder import ClipEncoder
from endofm.models.timm_encoder import TimmEncoder, build_image_network
from endofm.tasks.features.model import VideoEncoder

TOLERANCE = 1e-4
"""Largest accepted difference of an output value (of order 1); other orders of summation give some 1e-5."""

ExportFormat = Literal["onnx", "openvino", "executorch", "torch-export"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
SUFFIXES: dict[ExportFormat, str] = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "executorch": ".pte",
    "torch-export": ".pt2",
}
PACKAGES: dict[ExportFormat, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "executorch": ("executorch",),
    "torch-export": (),
}

CHECKED_BATCHES: dict[ExportFormat, tuple[int, ...]] = {
    # Two sizes, none of them the one that was traced: an exporter may have fixed it.
    "onnx": (1, 3),
    "openvino": (1, 3),
    "torch-export": (1, 3),
    # The memory of such a file is planned when it is written, and XNNPACK cannot resize some shapes with the batch.
    "executorch": (1,),
}
"""Batches on which a file is compared with the model; ExecuTorch files take one clip at a time."""

Runner = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Parity:
    """Result of the comparison of an exported file with the model.

    Attributes:
        difference: Largest difference of any output value from the model's.
        batches: Batch sizes that were compared.
    """

    difference: float
    batches: tuple[int, ...]


def export_encoder(
    model: VideoEncoder,
    target: str | Path,
    *,
    to: ExportFormat,
    patch_tokens: bool = False,
    accept_license: str | None = None,
) -> Parity:
    """Write a model's encoder as one file (OpenVINO: two) and run that file against the model.

    The file takes clips ``(batch, 3, time, height, width)``, float32, as prepared by ``model.processor``, with the
    frames and size of the model's configuration and any batch (ExecuTorch: one clip). Its metadata holds the
    preprocessing and the origin of the weights.

    Args:
        model: Encoder to export, of any kind but EndoMamba's; its precision does not matter, files are float32.
        target: File to write; an existing one is replaced.
        to: ``"onnx"``, ``"openvino"``, ``"executorch"`` or ``"torch-export"``.
        patch_tokens: Return the patch tokens ``(batch, time, rows, columns, embed_dim)`` after the embedding.
        accept_license: Identifier of the weights' licence, to be stated if it does not allow every use.

    Returns:
        Difference between the file and the model.

    Raises:
        InputError: If the format is unknown, the suffix belongs to another format, a package is missing, the licence
            was not accepted, or the kind of encoder cannot be exported.
        EndoFMError: If the file does not compute what the model does; no file is kept then.
    """
    target = Path(target)
    check_format(to, target)
    require_accepted(model.config.license, accept_license, action="An export")
    require_writable(target)
    require_graph(model)
    network = ExportedNetwork(cast(ClipEncoder, model), patch_tokens=patch_tokens).eval()
    metadata = {
        "endofm_version": __version__,
        "config": json.dumps(asdict(model.config)),
        "provenance": json.dumps(model.weights_provenance()),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the target's folder, so that the finished files can be renamed into place.
    with tempfile.TemporaryDirectory(prefix=".endofm-export-", dir=target.parent) as name:
        draft = Path(name) / target.name
        write(network, to, draft, metadata=metadata)
        parity = check(network, to, draft)
        # Written this way, a difference that is not a number fails too.
        if not parity.difference <= TOLERANCE:
            raise EndoFMError(
                f"{target}: the exported file does not compute what the model does (difference "
                f"{parity.difference:.1e}, allowed {TOLERANCE:g}), so it was not kept; try another version of the "
                f"export packages"
            )
        # The file under the target's name comes last: when it exists, its companions do.
        for file in sorted(Path(name).iterdir(), key=lambda path: path == draft):
            file.replace(target.parent / file.name)
    return parity


def require_graph(model: VideoEncoder) -> None:
    """Raise unless an encoder is a graph of operators of a size that does not grow with the clip.

    Raises:
        InputError: If it is not.
    """
    if isinstance(model.config.encoder, MambaConfig):
        raise InputError(
            f"{model.config.encoder.describe()} cannot be exported: its scan goes token by token, and the formats have "
            "no operator for it; a file would hold every step of the loop, several thousand for a clip"
        )


def check(network: ExportedNetwork, to: ExportFormat, path: Path) -> Parity:
    """Run a written file and the network on the same clips."""
    run, worst, batches = load_runner(to, path), 0.0, CHECKED_BATCHES[to]
    for batch in batches:
        clip = network.example(batch, seed=batch)
        with torch.no_grad():
            expected = network(clip)
        for output, reference in zip(run(clip), expected, strict=True):
            if output.shape != reference.shape or not output.isfinite().all():
                return Parity(float("inf"), batches)
            worst = max(worst, float((output - reference).abs().max()))
    return Parity(worst, batches)


def check_format(to: ExportFormat, target: Path) -> None:
    """Raise unless the format is known, its packages are installed and the file has its suffix.

    Raises:
        InputError: If one of these does not hold.
    """
    if to not in EXPORT_FORMATS:
        raise InputError(f"the format must be one of {', '.join(EXPORT_FORMATS)}, got {quoted(to)}")
    if target.suffix != SUFFIXES[to]:
        raise InputError(f"{target}: a file of the format {to} ends in {SUFFIXES[to]}")
    for package in PACKAGES[to]:
        require_extra(package, "executorch" if to == "executorch" else "export", f"Writing and checking {to} files")


def write(network: ExportedNetwork, to: ExportFormat, target: Path, *, metadata: dict[str, str]) -> None:
    """Write the network for any batch size; frames, height and width are those of the configuration."""
    with _quiet():
        if to == "onnx":
            _write_onnx(network, target, metadata)
            return
        if to == "executorch":
            _write_executorch(network, target, metadata)
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


def load_runner(to: ExportFormat, path: Path) -> Runner:
    """Return a function that runs the file on clips, in float32 on the CPU."""
    if to == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda clip: [torch.from_numpy(out) for out in session.run(None, {name: clip.numpy()})]
    if to == "openvino":
        import openvino

        # By default OpenVINO computes in bfloat16 where the processor has it.
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda clip: [torch.from_numpy(out.copy()) for out in compiled([clip.numpy()]).values()]
    if to == "executorch":
        from executorch.runtime import Runtime

        with _quiet():
            program = Runtime.get().load_program(path)
            method = program.load_method("forward")
        assert method is not None
        return lambda clip: [out.clone() for out in method.execute([clip.contiguous()])]
    module = torch.export.load(path).module()

    def run(clip: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return list(module(clip))

    return run


class ExportedNetwork(nn.Module):
    """A float32 copy of an encoder on the CPU, for export.

    Where there are ``temporal_attn.proj`` and ``temporal_fc``, they are folded into one linear map (exact up to
    rounding), because the runtimes of the file formats do not fold them. A convolution that cuts a clip into tubelets
    becomes a product, because ExecuTorch has no operator for it.

    Args:
        encoder: Encoder to copy.
        patch_tokens: Return the patch tokens as well.
    """

    def __init__(self, encoder: ClipEncoder, *, patch_tokens: bool) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).float().cpu().eval().requires_grad_(False)
        self.encoder.precision = "exact"
        self.patch_tokens = patch_tokens
        if isinstance(self.encoder, TimmEncoder):
            _fix_size(self.encoder)
        for block in self.encoder.modules():
            if isinstance(block, DividedSpaceTimeBlock):
                _fold(block)
            for name, child in block.named_children():
                if isinstance(child, nn.Conv3d):
                    setattr(block, name, _TubeletProduct(child))

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        """Map clips to embeddings ``(batch, embed_dim)`` and, if requested, patch tokens."""
        if not self.patch_tokens:
            return (self.encoder(clip),)
        output = self.encoder.forward_features(clip)
        assert output.patch_tokens is not None
        return output.cls_token, output.patch_tokens

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["embedding", "patch_tokens"] if self.patch_tokens else ["embedding"]

    def example(self, batch: int, *, seed: int = 0) -> Tensor:
        """Return clips of the configured size, always the same for a seed."""
        config = self.encoder.encoder_config
        generator = torch.Generator().manual_seed(seed)
        shape = batch, config.in_chans, config.num_frames, config.img_size, config.img_size
        return torch.randn(shape, generator=generator)


def _fix_size(encoder: TimmEncoder) -> None:
    """Replace timm's network by one for images of the configured size alone.

    In a graph that is exported, timm resizes the positions even to the size that they have, antialiased and bicubic,
    for which OpenVINO has no operator.
    """
    with torch.random.fork_rng(devices=[]):
        network = build_image_network(encoder.encoder_config, fixed_size=True)
    network.load_state_dict(encoder.image.state_dict(), strict=True)
    encoder.image = network.eval().requires_grad_(False)


class _TubeletProduct(nn.Linear):
    """A convolution over tubelets that do not overlap, as a product with the pixels of each of them.

    Args:
        conv: Convolution whose stride is its kernel's size, without padding.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        assert (conv.stride, conv.padding, conv.groups) == (conv.kernel_size, (0, 0, 0), 1)
        super().__init__(conv.in_channels * math.prod(conv.kernel_size), conv.out_channels, conv.bias is not None)
        self.size = conv.kernel_size
        # Every tubelet is multiplied with the whole kernel once: its pixels in the order of the kernel's dimensions.
        self.weight = nn.Parameter(conv.weight.flatten(1), requires_grad=False)
        if conv.bias is not None:
            self.bias = nn.Parameter(conv.bias, requires_grad=False)

    def forward(self, clip: Tensor) -> Tensor:
        """Map clips ``(batch, channels, time, height, width)`` to ``(batch, embed_dim, time', rows, columns)``."""
        batch, channels, *lengths = clip.shape
        time, rows, columns = (length // size for length, size in zip(lengths, self.size, strict=True))
        depth, height, width = self.size
        # In two steps, because XNNPACK transposes at most six dimensions: tubelets to the front of their own pixels,
        # then the channels behind them.
        cut = clip.reshape(batch * channels * time, depth, rows, height, columns, width).permute(0, 2, 4, 1, 3, 5)
        tubelets = cut.reshape(batch, channels, time, rows * columns, depth * height * width).permute(0, 2, 3, 1, 4)
        pixels = tubelets.reshape(batch, time, rows, columns, self.in_features)
        return super().forward(pixels).permute(0, 4, 1, 2, 3)


def _fold(block: DividedSpaceTimeBlock) -> None:
    """Replace the two consecutive linear maps of the temporal step by their product."""
    proj, fc = block.temporal_attn.proj, block.temporal_fc
    if not (is_plain_linear(proj) and is_plain_linear(fc)):
        return
    # fc(proj(x)) = W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2), in float64 up to one final rounding.
    outer = fc.weight.double()
    proj.weight = nn.Parameter((outer @ proj.weight.double()).float(), requires_grad=False)
    proj.bias = nn.Parameter((outer @ proj.bias.double() + fc.bias.double()).float(), requires_grad=False)
    block.temporal_fc = nn.Identity()  # type: ignore[assignment]


def _program(network: ExportedNetwork) -> torch.export.ExportedProgram:
    # Traced with two clips: PyTorch specialises a dimension of size 1.
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


def _write_executorch(network: ExportedNetwork, target: Path, metadata: dict[str, str]) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    # XNNPACK has the products of ARM and x86 processors; ExecuTorch's portable operators take what it leaves.
    lowered = to_edge_transform_and_lower(
        torch.export.export(network, (network.example(1),), strict=False),
        partitioner=[XnnpackPartitioner()],
        # A method without arguments that returns a constant is how such a file holds metadata.
        constant_methods=metadata,
    )
    with target.open("wb") as file:
        lowered.to_executorch().write_to_file(file)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporters' messages about their own code."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
