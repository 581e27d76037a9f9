"""Every kind of encoder at its own size on the CPU: clips per second and memory, beside the plain original.

``python -m benchmarks encoders`` prints a row for each kind: clips per second of CPU time, how many times faster than
the network of another package it is (median and quartiles over rounds, in turns, from the same weights unless a note
says otherwise), and the peak of memory that a clip adds to the loaded network. Weights are random. ``--names`` selects
registered encoders, ``--frames`` takes other clips than those of the record (64 frames of V-JEPA 2 take minutes).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.peer import make_peer
from benchmarks.scan import plain_loop
from benchmarks.timing import compare
from endofm.config.vjepa_config import VJepaConfig
from endofm.hub.registry import get_record
from endofm.layers import mamba
from endofm.models.build import build_encoder
from endofm.models.encoder import ClipEncoder, VideoTransformer
from endofm.models.endomamba import MambaEncoder
from endofm.models.frame_encoder import FrameTransformer
from endofm.models.timm_encoder import TimmEncoder
from endofm.models.vjepa import VJepaEncoder

NAMES = (
    "endofm-base-8x224",
    "endofm-lv-base-32x224",
    "vjepa2-l",
    "endovit-b",
    "gastronet-5m-vits",
    "surgenetxl-caformer",
    "surgenetxl-dinov2-s",
    "gastronet-5m-rn50",
    "lemonfm-l",
    "endomamba-s",
)

Run = Callable[[Tensor], Tensor]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks encoders", description=__doc__)
    parser.add_argument("--names", nargs="+", default=NAMES, metavar="NAME", help="registered encoders")
    parser.add_argument("--frames", type=int, help="frames of a clip (default: as the record says)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(arguments)
    print("| encoder | clip | clips/s | peer | times faster | quartiles | MB of weights | MB more for a clip |")
    print("|---|---|---:|---|---:|---:|---:|---:|", flush=True)
    for name in args.names:
        # In a process of its own: memory that another encoder used and freed would not count.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            print(process.submit(row, name, args.frames, args.rounds).result(), flush=True)


def row(name: str, frames: int | None, rounds: int) -> str:
    """Return the row of one encoder as Markdown."""
    torch.set_num_threads(1)
    config = get_record(name).config.encoder
    if frames is not None:
        config = replace(config, num_frames=frames)
    torch.manual_seed(0)
    encoder = build_encoder(config).eval()
    clip = torch.randn(1, config.in_chans, config.num_frames, config.img_size, config.img_size)
    with torch.inference_mode():
        memory = added_memory(partial(encoder, clip))
        label, plain = plain_network(encoder)
        ratio = compare(
            {"plain": partial(plain, clip), "ours": partial(encoder, clip)},
            rounds=rounds, clock=time.process_time, warm_up=1,
        )["ours"]  # fmt: skip
    weights = sum(parameter.numel() * parameter.element_size() for parameter in encoder.parameters())
    cells = (
        f"`{name}`",
        f"{config.num_frames} x {config.img_size}",
        f"{1 / ratio.seconds:.2f}",
        label,
        f"{ratio.median:.2f}x",
        f"{ratio.low:.2f}x - {ratio.high:.2f}x",
        f"{weights / 1e6:.0f}",
        "" if memory is None else f"{memory / 1e6:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def plain_network(encoder: ClipEncoder) -> tuple[str, Run]:
    """Return what computes the same elsewhere, and its name.

    Raises:
        ImportError: If the other package is not installed.
    """
    if isinstance(encoder, VideoTransformer):
        peer = make_peer(encoder)
        if peer is None:
            raise ImportError("the extra bench installs transformers, with which this encoder is compared")
        return "transformers", peer
    if isinstance(encoder, VJepaEncoder):
        return "transformers, weights of its own", _vjepa_peer(encoder)
    if isinstance(encoder, MambaEncoder):
        return "plain loop", partial(_with_plain_loop, encoder)
    if isinstance(encoder, TimmEncoder):
        return "timm", partial(_frames_at_once, encoder.image)
    assert isinstance(encoder, FrameTransformer)
    return "timm", partial(_frames_at_once, _timm_transformer(encoder))


def added_memory(work: Callable[[], object]) -> int | None:
    """Return by how many bytes the peak of this process exceeds what it holds before; None where Linux is not."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    reset.write_text("5")  # the peak begins again at what is held now
    before = _status_bytes(status, "VmRSS")
    work()
    return _status_bytes(status, "VmHWM") - before


def _status_bytes(status: Path, field: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _frames_at_once(network: Callable[[Tensor], Tensor], clip: Tensor) -> Tensor:
    embeddings = network(clip.transpose(1, 2).flatten(0, 1))
    return embeddings.view(clip.shape[0], -1, embeddings.shape[1]).mean(dim=1)


def _with_plain_loop(encoder: ClipEncoder, clip: Tensor) -> Tensor:
    with patch.object(mamba, "selective_scan", plain_loop):
        embedding: Tensor = encoder(clip)
        return embedding


def _timm_transformer(encoder: FrameTransformer) -> Callable[[Tensor], Tensor]:
    from timm.models.vision_transformer import VisionTransformer

    config = encoder.encoder_config
    network = VisionTransformer(
        config.img_size,
        config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        num_classes=0,
    )
    network.load_state_dict(encoder.state_dict(), strict=True)
    return network.eval()


def _vjepa_peer(encoder: VJepaEncoder) -> Run:
    from transformers import VJEPA2Config, VJEPA2Model

    config = encoder.encoder_config
    assert isinstance(config, VJepaConfig)
    peer = VJEPA2Model(
        VJEPA2Config(
            crop_size=config.img_size,
            frames_per_clip=config.num_frames,
            hidden_size=config.embed_dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
        )
    ).eval()  # type: ignore[no-untyped-call]

    def embed(clip: Tensor) -> Tensor:
        tokens: Tensor = peer(clip.transpose(1, 2), skip_predictor=True).last_hidden_state
        return tokens.mean(dim=1)

    return embed
