"""Writing an encoder for other programs, with proof that the file computes the same."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from endofm._version import __version__
from endofm.errors import EndoFMError
from endofm.export.formats import Format, check_format, load_runner, write
from endofm.export.network import ExportedNetwork
from endofm.tasks.features.model import EndoFM

TOLERANCE = 1e-4
"""Largest difference of a value of the outputs (of order 1) that passes; other summation orders give some 1e-5."""


@dataclass(frozen=True)
class Parity:
    """What the check of an exported file found.

    Attributes:
        difference: Largest difference of any output value from the model's.
        batches: Batch sizes that were tried.
    """

    difference: float
    batches: tuple[int, ...]


def export(model: EndoFM, target: str | Path, *, to: Format, patch_tokens: bool = False) -> Parity:
    """Write a model's encoder as one file (OpenVINO: two) and run that file against the model.

    The file takes clips ``(batch, 3, time, height, width)``, float32, prepared as ``model.processor`` does, with the
    frames and size of the model's configuration and any batch. What preparation that is, and where the weights came
    from, stands in the file's metadata.

    Args:
        model: What to write; its precision plays no part, files are float32.
        target: File to write, replaced if it is there.
        to: ``"onnx"``, ``"openvino"`` or ``"torch-export"``.
        patch_tokens: Return the patch tokens ``(batch, time, rows, columns, embed_dim)`` after the embedding.

    Returns:
        What the check found.

    Raises:
        InputError: If the format is unknown, the suffix is another's, or a package is missing.
        EndoFMError: If the file does not compute what the model does; then nothing is written.
    """
    target = Path(target)
    check_format(to, target)
    network = ExportedNetwork(model, patch_tokens=patch_tokens).eval()
    metadata = {
        "endofm_version": __version__,
        "config": json.dumps(asdict(model.config)),
        "provenance": json.dumps(model.weights_provenance()),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the finished files can be renamed into place.
    with tempfile.TemporaryDirectory(prefix=".endofm-export-", dir=target.parent) as name:
        draft = Path(name) / target.name
        write(network, to, draft, metadata=metadata)
        parity = check(network, to, draft)
        if not parity.difference <= TOLERANCE:
            raise EndoFMError(
                f"{target}: the exported file does not compute what the model does (difference "
                f"{parity.difference:.1e}, allowed {TOLERANCE:g}), so it was not kept; try another version of the "
                f"export packages"
            )
        for file in sorted(Path(name).iterdir(), key=lambda path: path == draft):
            file.replace(target.parent / file.name)
    return parity


def check(network: ExportedNetwork, to: Format, path: Path) -> Parity:
    """Run a written file and the network on the same clips."""
    run, worst, batches = load_runner(to, path), 0.0, (1, 3)
    for batch in batches:
        clip = network.example(batch, seed=batch)
        with torch.no_grad():
            wanted = network(clip)
        for found, right in zip(run(clip), wanted, strict=True):
            if found.shape != right.shape or not found.isfinite().all():
                return Parity(float("inf"), batches)
            worst = max(worst, float((found - right).abs().max()))
    return Parity(worst, batches)
