"""``endofm convert``: conversion of a published checkpoint to a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.printing import say

SUMMARY = "convert a published .pth checkpoint to a safe model folder (safetensors, configuration, model card)"
EXAMPLES = ("endofm convert endo_fm.pth endofm-base/",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", type=Path, help="published checkpoint; nothing in it is executed")
    parser.add_argument("out", type=Path, help="output folder")
    parser.add_argument(
        "--part", metavar="ENTRY", help="entry of a file with several networks, such as student (default: teacher)"
    )
    parser.add_argument(
        "--num-heads", type=int, metavar="N", help="attention heads per block (default: heads of width 64)"
    )
    parser.add_argument("--task", help="task of the model; features leaves a head out (default: as trained)")
    parser.add_argument(
        "--labels", metavar="A,B,...", help="names of the classes of a fine-tuned file (default: as registered)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model in the output folder")


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was found, read and left out."""
    from endofm.config import EncoderConfig, ViTConfig
    from endofm.errors import InputError, WeightsNotFoundError
    from endofm.hub.convert import convert_checkpoint
    from endofm.hub.download import file_sha256
    from endofm.hub.model_folder import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, save_folder
    from endofm.hub.task_layout import task_layout
    from endofm.task_table import get_task

    if not args.checkpoint.is_file():
        raise WeightsNotFoundError(f"{args.checkpoint}: there is no such file")
    # Before the conversion, which takes a minute for the published file.
    present = [name for name in (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME) if (args.out / name).exists()]
    if present and not args.overwrite:
        raise InputError(f"{args.out} holds {', '.join(present)} already; pass --overwrite to replace them")

    converted = convert_checkpoint(
        args.checkpoint,
        part=args.part,
        num_heads=args.num_heads,
        task=args.task,
        labels=[label.strip() for label in args.labels.split(",")] if args.labels else None,
    )
    published, config = converted.published, converted.config
    encoder = config.encoder
    save_folder(args.out, config=config, state_dict=published.tensors, record=converted.record)

    registered = f"the published file of {converted.record.name}" if converted.record else "not a registered file"
    # A wrong number of heads fits the tensors as well and would go unnoticed, so that a guess is reported.
    guessed = isinstance(encoder, ViTConfig) and not args.num_heads and not converted.record
    assumed = " (heads assumed from the width; --num-heads overrides it)" if guessed else ""
    values = sum(tensor.numel() for tensor in published.tensors.values())
    weights = args.out / WEIGHTS_NAME
    lines = {
        "checkpoint": f"{args.checkpoint}, {registered}",
        "sha256": converted.sha256,
        "layout": published.layout,
        "read": f"{published.part or 'the file'}: {len(published.tensors)} tensors, {values:,} values",
        "left out": _left_out(published.left_out_tensors, published.left_out_entries),
        "encoder": f"{encoder.describe()}{assumed}",
        "input": f"{encoder.num_frames} frames of {encoder.img_size} x {encoder.img_size}",
        "task": config.task,
        **task_layout(config.task).facts(config),
        "licence": config.license or "not stated",
        "written": f"{weights} (sha256 {file_sha256(weights)}), {CONFIG_NAME}, {CARD_NAME}",
    }
    for key, value in lines.items():
        say(f"{key:<10}  {value}")
    divided = config.head or (isinstance(encoder, EncoderConfig) and encoder.attention_type == "divided_space_time")
    loader = f"{get_task(config.task).model_class}.from_pretrained" if divided else "endofm.load_encoder"
    print(f'\nLoad it with {loader}("{args.out}")')
    return 0


def _left_out(tensors: tuple[str, ...], entries: tuple[str, ...]) -> str:
    parts = []
    if tensors:
        parts.append(
            f"{len(tensors)} tensors that are no part of the model ({', '.join(tensors[:3])}"
            f"{', ...' if len(tensors) > 3 else ''})"
        )
    if entries:
        parts.append(f"entries {', '.join(entries)}")
    return "; ".join(parts) or "nothing"
