"""``endofm info``: architecture, preprocessing and provenance of a model."""

from __future__ import annotations

import argparse
import json

from endofm.cli.model_arguments import registered_names
from endofm.cli.parser import offer_names
from endofm.cli.printing import say

SUMMARY = "show a model's architecture, preprocessing and provenance"
EXAMPLES = (
    "endofm info endofm-nano-4x96",
    "endofm info runs/polyps/export --json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    weights = parser.add_argument(
        "weights", help="registered name, owner/repo[@revision], folder, .safetensors or .pth file"
    )
    offer_names(weights, registered_names)
    parser.add_argument("--local-files-only", action="store_true", help="do not use the network")
    parser.add_argument("--json", action="store_true", help="print config.json instead")


def run(args: argparse.Namespace) -> int:
    """Describe the weights; a registered name is described by its record, without a download."""
    from endofm.disclaimer import DISCLAIMER
    from endofm.hub.registry import find_record
    from endofm.hub.resolve import load_weights
    from endofm.hub.task_layout import check_tensors, count_parameters, task_layout
    from endofm.transforms.processor import Processor

    record = find_record(args.weights)
    provenance: dict[str, str] = {}
    if record is not None:
        config = record.config
    else:
        loaded = load_weights(args.weights, local_files_only=args.local_files_only)
        config, provenance = loaded.config, dict(loaded.provenance)
        if loaded.state_dict is not None:
            # A file whose tensors do not fit is refused here as it is when it is loaded.
            check_tensors(config, loaded.state_dict, source=provenance["file"])
    if args.json:
        print(json.dumps(config.to_dict(), indent=2))
        return 0
    encoder = config.encoder
    lines = {
        "name": config.name or str(args.weights),
        "weights": "trained" if config.trained else "RANDOM: features computed with them mean nothing",
        "task": config.task,
        **task_layout(config.task).facts(config),
        "licence": config.license or "not stated",
        "encoder": encoder.describe(),
        "input": f"{encoder.num_frames} frames of {encoder.img_size} x {encoder.img_size}",
        "parameters" if config.head is None else "parameters of the encoder": f"{count_parameters(encoder):,}",
        **provenance,
    }
    width = max(map(len, lines))
    for key, value in lines.items():
        say(f"{key:<{width}}  {value}")
    print(f"\npreprocessing\n{Processor(config.preprocess).describe()}")
    if record is not None:
        print(f"\n{record.description}")
    print(f"\n{DISCLAIMER}")
    return 0
