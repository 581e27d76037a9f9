"""``endofm export``: write the encoder as a file for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write the encoder as ONNX, OpenVINO or torch.export file, checked against the model"
EXAMPLES = ("endofm export --weights endofm-nano-4x96 --to onnx -o endofm.onnx",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--weights", required=True, help="registry name, owner/repo[@revision], folder, .safetensors or .pth file"
    )
    parser.add_argument("--to", required=True, choices=("onnx", "openvino", "torch-export"), help="format of the file")
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE", help="file to write: .onnx, .xml (OpenVINO, with .bin) or .pt2"
    )
    parser.set_defaults(file_outputs=(".onnx", ".xml", ".pt2"))
    parser.add_argument("--patch-tokens", action="store_true", help="return patch tokens after the embedding")
    parser.add_argument(
        "--accept-license",
        metavar="LICENCE",
        help="identifier of the weights' licence, to be stated if it does not allow every use",
    )
    parser.add_argument("--local-files-only", action="store_true", help="never touch the network")


def run(args: argparse.Namespace) -> int:
    """Write and check the file."""
    from endofm import EndoFM
    from endofm.export import check_format, export_encoder

    # A wrong suffix or a missing package is reported before weights are loaded.
    target = Path(args.out)
    check_format(args.to, target)
    model = EndoFM.from_pretrained(args.weights, local_files_only=args.local_files_only)
    parity = export_encoder(
        model, target, to=args.to, patch_tokens=args.patch_tokens, accept_license=args.accept_license
    )
    batches = " and ".join(str(batch) for batch in parity.batches)
    print(f"{target}: largest difference from the model {parity.difference:.1e} (batches of {batches})")
    return 0
