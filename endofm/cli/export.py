"""``endofm export``: write the encoder for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write the encoder for ONNX, OpenVINO, ExecuTorch, torch.export or transformers, and check it"
EXAMPLES = (
    "endofm export --weights endofm-nano-4x96 --to onnx -o endofm.onnx",
    "endofm export --weights endofm-nano-4x96 --to transformers -o endofm-for-transformers/",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--weights", required=True, help="registry name, owner/repo[@revision], folder, .safetensors or .pth file"
    )
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "openvino", "executorch", "torch-export", "transformers"),
        help="format to write",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="PATH",
        help="file to write: .onnx, .xml (OpenVINO, with .bin), .pte (ExecuTorch) or .pt2; for transformers a folder",
    )
    parser.set_defaults(file_outputs=(".onnx", ".xml", ".pte", ".pt2"))
    parser.add_argument("--patch-tokens", action="store_true", help="files: return patch tokens after the embedding")
    parser.add_argument(
        "--accept-license",
        metavar="LICENCE",
        help="identifier of the weights' licence, to be stated if it does not allow every use",
    )
    parser.add_argument("--local-files-only", action="store_true", help="never touch the network")


def run(args: argparse.Namespace) -> int:
    """Write and check the file or folder."""
    from endofm import load_encoder
    from endofm.export import export_encoder, export_transformers
    from endofm.export.encoder_file import check_format
    from endofm.export.transformers_folder import check_folder

    # A wrong suffix or a missing package is reported before weights are loaded.
    target = Path(args.out)
    to_folder = args.to == "transformers"
    if to_folder:
        check_folder(target)
    else:
        check_format(args.to, target)
    model = load_encoder(args.weights, local_files_only=args.local_files_only)
    if to_folder:
        parity = export_transformers(model, target, accept_license=args.accept_license)
    else:
        parity = export_encoder(
            model, target, to=args.to, patch_tokens=args.patch_tokens, accept_license=args.accept_license
        )
    batches = " and ".join(str(batch) for batch in parity.batches)
    print(f"{target}: largest difference from the model {parity.difference:.1e} (batches of {batches})")
    return 0
