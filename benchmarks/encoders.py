"""Every kind of encoder at its own size on the CPU: clips per second and memory, beside the plain original.

``python -m benchmarks encoders`` prints a row for each kind: clips per second of CPU time, how many times faster than
the network of another package it is (median and quartiles over rounds, in turns, from the same weights unless a note
says otherwise), and the peak of memory that a clip adds to the loaded network. Weights are random. ``--names`` selects
registered encoders, ``--frames`` takes other clips than those of the record (64 frames of V-JEPA 2 take minutes).
``--json`` and ``--plot`` keep the rows of several runs and draw them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
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
from endofm.files import atomic_path
from endofm.hub.registry import get_record
from endofm.layers import mamba
from endofm.models.build import build_encoder
from endofm.models.encoder import ClipEncoder, VideoTransformer
from endofm.models.endomamba import MambaEncoder
from endofm.models.frame_encoder import FrameTransformer
from endofm.models.timm_encoder import TimmEncoder
from endofm.models.vjepa import VJepaEncoder
from endofm.visualize.figures import add_legend, new_figure, save_figure

NAMES = (
    "endofm-base-8x224",
    "endofm-lv-base-32x224",
    "vjepa2-l",
    "endovit-b",
    "endossl-l",
    "gastronet-5m-vits",
    "surgenetxl-caformer",
    "surgenetxl-dinov2-s",
    "surgenetxl-dinov3-s",
    "gastronet-5m-dinov2-b",
    "gastronet-5m-rn50",
    "lemonfm-l",
    "endomamba-s",
)

Run = Callable[[Tensor], Tensor]

_TICKS = (0.5, 1, 2, 5, 10, 20)
"""Frames per second that the plot marks."""


@dataclass(frozen=True)
class Measured:
    """Measurements of one encoder.

    Attributes:
        name: Its registered name.
        frames: Frames of a clip.
        side: Side of a frame in pixels.
        clips_per_second: Clips for a second of CPU time.
        peer: The network that it is compared with.
        faster: How many times faster than the peer: lower quartile, median, upper quartile.
        weights: Bytes of its parameters.
        memory: Bytes that a clip adds to the loaded network; None where that cannot be measured.
    """

    name: str
    frames: int
    side: int
    clips_per_second: float
    peer: str
    faster: tuple[float, float, float]
    weights: int
    memory: int | None

    def line(self) -> str:
        """Return the row of the table."""
        low, median, high = self.faster
        cells = (
            f"`{self.name}`",
            f"{self.frames} x {self.side}",
            f"{self.clips_per_second:.2f}",
            self.peer,
            f"{median:.2f}x",
            f"{low:.2f}x - {high:.2f}x",
            f"{self.weights / 1e6:.0f}",
            "" if self.memory is None else f"{self.memory / 1e6:.0f}",
        )
        return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks encoders", description=__doc__)
    parser.add_argument(
        "--names", nargs="*", default=NAMES, metavar="NAME", help="registered encoders; none: only plot"
    )
    parser.add_argument("--frames", type=int, help="frames of a clip (default: as the record says)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows; those of other encoders in it are kept"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rows of the file of --json")
    args = parser.parse_args(arguments)
    print("| encoder | clip | clips/s | peer | times faster | quartiles | MB of weights | MB more for a clip |")
    print("|---|---|---:|---|---:|---:|---:|---:|", flush=True)
    for name in args.names:
        # In a process of its own: memory that another encoder used and freed would not count.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            measured = process.submit(measure, name, args.frames, args.rounds).result()
        print(measured.line(), flush=True)
        if args.json:
            rows = {row.name: row for row in (*read_rows(args.json), measured)}
            with atomic_path(args.json) as temporary:
                temporary.write_text(json.dumps([asdict(row) for row in rows.values()], indent=1) + "\n")
    if args.plot:
        if not args.json:
            parser.error("--plot draws the rows of a file: name it with --json")
        plot(read_rows(args.json), args.plot)


def read_rows(path: Path) -> list[Measured]:
    """Return the rows of a file, none if it is not there."""
    if not path.exists():
        return []
    return [Measured(**{**row, "faster": tuple(row["faster"])}) for row in json.loads(path.read_text())]


def plot(rows: list[Measured], path: Path) -> None:
    """Draw frames per second of CPU time, beside those of the peer."""
    rows = sorted(rows, key=lambda row: row.clips_per_second * row.frames)
    figure = new_figure(7, 1.2 + 0.3 * len(rows), extra="viz", purpose="The plot")
    axes = figure.subplots()
    for y, row in enumerate(rows):
        ours = row.clips_per_second * row.frames
        plain = ours / row.faster[1]
        axes.plot([plain, ours], [y, y], color="0.75", zorder=1)
        mine = axes.scatter([ours], [y], color="tab:blue", zorder=3)
        other = axes.scatter([plain], [y], facecolors="white", edgecolors="tab:orange", zorder=2)
    axes.set_xscale("log")
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [f"{row.name} ({row.frames} x {row.side})" for row in rows])
    axes.set_xlabel("frames per second of one processor core, float32")
    axes.grid(axis="x", alpha=0.3)
    if rows:
        add_legend(axes, {"endofm": mine, "the plain network": other}, loc="lower right")
    save_figure(figure, path, dpi=110)


def measure(name: str, frames: int | None, rounds: int) -> Measured:
    """Return the measurements of one encoder, made in this process."""
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
    return Measured(
        name=name,
        frames=config.num_frames,
        side=config.img_size,
        clips_per_second=1 / ratio.seconds,
        peer=label,
        faster=(ratio.low, ratio.median, ratio.high),
        weights=sum(parameter.numel() * parameter.element_size() for parameter in encoder.parameters()),
        memory=memory,
    )


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
