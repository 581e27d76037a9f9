"""Parts of ``benchmarks/gpu.py``: each yields its results one by one, and says what it skips."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.flops import gflop_per_clip
from endofm.config import EncoderConfig, PreprocessConfig
from endofm.kernels.cuda_graphs import GraphedEncoder
from endofm.models.encoder import VideoTransformer
from endofm.outputs import EncoderOutput

Result = dict[str, object]
_TOY = EncoderConfig(img_size=32, num_frames=4, embed_dim=64, depth=2, num_heads=1)


@dataclass(frozen=True)
class Bench:
    """Device and sizes of the parts.

    Attributes:
        device: The device.
        encoder: Architecture.
        batches: Clips per forward pass.
        rounds: How often something is timed.
        side: Rows and columns of the largest product that gives the peak rate.
    """

    device: torch.device
    encoder: EncoderConfig
    batches: tuple[int, ...]
    rounds: int
    side: int

    @classmethod
    def on(cls, device: torch.device) -> Bench:
        """Return the real size on a GPU, a toy on a CPU."""
        if device.type == "cpu":
            return cls(device, _TOY, (1, 2), 2, 64)
        return cls(device, EncoderConfig(), (1, 8, 32), 10, 8192)

    def network(self) -> VideoTransformer:
        """Return an encoder with random weights."""
        torch.manual_seed(0)
        return VideoTransformer(self.encoder).to(self.device).eval()

    def clips(self, batch: int) -> Tensor:
        """Return random clips on the device."""
        size = self.encoder.img_size
        return torch.randn(batch, 3, self.encoder.num_frames, size, size, device=self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the median time of a call, after two that are not counted, with the device waited for."""
        times = []
        for number in range(self.rounds + 2):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            if number > 1:
                times.append(time.perf_counter() - began)
        return statistics.median(times)

    def wait(self) -> None:
        """Wait until the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_gflops(self) -> float:
        """Return the rate of a large bfloat16 product, in 1e9 operations per second."""
        big = torch.randn(self.side, self.side, device=self.device, dtype=torch.bfloat16)
        return 2 * self.side**3 / 1e9 / self.seconds(lambda: big @ big)

    def reset_memory(self) -> None:
        """Count the peak of memory from here on."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self) -> float | None:
        """Return the peak of memory in MB; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) / 1e6 if self.device.type == "cuda" else None


def _skip(reason: str) -> Result:
    return {"skipped": reason}


def _tests(bench: Bench) -> Iterator[Result]:
    """Tests marked ``gpu``."""
    if bench.device.type != "cuda":
        yield _skip("no CUDA device")
        return
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True)
    yield {"exit_status": done.returncode, "output": done.stdout[-1500:]}


def _graphed(network: VideoTransformer) -> Callable[[Tensor], Tensor]:
    """Return an encoder that is recorded as a CUDA graph, as extraction uses it."""
    encode = GraphedEncoder(lambda clips, *, level: EncoderOutput(network(clips), None))
    return lambda clips: encode(clips, level="clip").cls_token


def _clips(bench: Bench) -> Iterator[Result]:
    """Clips per second in bfloat16, and the share of the measured product rate, by batch; peak of memory."""
    peak = bench.peak_gflops()
    yield {"peak_gflops": peak}
    for precision in ("exact", "bfloat16"):
        network = bench.network()
        network.precision = precision  # type: ignore[assignment]
        encode = _graphed(network) if bench.device.type == "cuda" else network
        for batch in bench.batches:
            clips = bench.clips(batch)
            bench.reset_memory()
            with torch.inference_mode():
                seconds = bench.seconds(lambda c=clips, run=encode: run(c))  # type: ignore[misc]
            yield {
                "precision": precision, "batch": batch, "clips_per_second": batch / seconds,
                "share_of_peak": batch * gflop_per_clip(bench.encoder) / seconds / peak,
                "peak_memory_mb": bench.peak_memory(),
            }  # fmt: skip


def _ways(bench: Bench) -> Iterator[Result]:
    """The same call eager, as a CUDA graph, and compiled."""
    network = bench.network()
    network.precision = "bfloat16"
    batch = bench.batches[-2]
    clips = bench.clips(batch)
    with torch.inference_mode():
        yield {"way": "eager", "batch": batch, "clips_per_second": batch / bench.seconds(lambda: network(clips))}
        if bench.device.type == "cuda":
            graphed = _graphed(network)
            rate = batch / bench.seconds(lambda: graphed(clips))
            yield {"way": "CUDA graph", "batch": batch, "clips_per_second": rate}
        else:
            yield _skip("CUDA graphs: no CUDA device")
        # The compiler sees the modules in their own type, hence autocast.
        for mode in ("default", "reduce-overhead") if bench.device.type == "cuda" else ("eager",):
            how = {"backend": "eager"} if mode == "eager" else {"mode": mode}
            compiled = torch.compile(network, **how)  # type: ignore[call-overload]
            with torch.autocast(bench.device.type, torch.bfloat16):
                rate = batch / bench.seconds(lambda run=compiled: run(clips))  # type: ignore[misc]
            yield {"way": f"torch.compile, {mode}", "batch": batch, "clips_per_second": rate}


def _attention(bench: Bench) -> Iterator[Result]:
    """Backends of PyTorch's attention, by shape: over time, and over space."""
    frames, heads = bench.encoder.num_frames, bench.encoder.num_heads
    tokens, width = bench.encoder.grid_size**2 + 1, bench.encoder.embed_dim // heads
    for batch in bench.batches:
        for axis, shape in (("time", (batch * tokens, frames)), ("space", (batch * frames, tokens))):
            q, k, v = torch.randn(3, shape[0], heads, shape[1], width, device=bench.device, dtype=torch.bfloat16)
            for name in ("MATH", "EFFICIENT_ATTENTION", "FLASH_ATTENTION", "CUDNN_ATTENTION"):
                result: Result = {"axis": axis, "batch": batch, "backend": name}
                try:
                    with sdpa_kernel(getattr(SDPBackend, name)), torch.inference_mode():
                        run = lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v)  # noqa: E731
                        yield {**result, "milliseconds": 1e3 * bench.seconds(run)}
                except RuntimeError as error:
                    yield {**result, **_skip(str(error)[:120])}


def _preprocessing(bench: Bench) -> Iterator[Result]:
    """Frames per second that are resized and normalised, from main memory on."""
    from endofm.transforms.processor import Processor

    processor = Processor(PreprocessConfig())
    for name, size in (("576p", (576, 720)), ("1080p", (1080, 1920))):
        frames = torch.randint(0, 256, (8, *size, 3), dtype=torch.uint8)
        rate = len(frames) / bench.seconds(lambda f=frames: processor(f.to(bench.device)))  # type: ignore[misc]
        yield {"size": name, "frames_per_second": rate}


def _decoding(bench: Bench) -> Iterator[Result]:
    """Frames per second of torchcodec (NVDEC on a GPU) and of PyAV, the same pixels or not."""
    from benchmarks.footage import render
    from endofm.video.open import open_video

    if importlib.util.find_spec("torchcodec") is None:
        yield _skip("torchcodec is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        render(path, height=1080, width=1920)
        first = {}
        for decoder in ("pyav", "torchcodec"):
            began, count = time.perf_counter(), 0
            with open_video(path, decoder=decoder, device=str(bench.device)) as video:  # type: ignore[arg-type]
                for frame in video:
                    first.setdefault(decoder, frame.data)
                    count += 1
            yield {"decoder": decoder, "frames_per_second": count / (time.perf_counter() - began)}
        distance = np.abs(first["pyav"].astype(np.int16) - first["torchcodec"].astype(np.int16))
        yield {"largest_difference": int(distance.max()), "mean_difference": float(distance.mean())}


def _pretraining(bench: Bench) -> Iterator[Result]:
    """A pre-training step in bfloat16: clips per second and the share of the measured product rate."""
    from benchmarks import pretraining_step

    small = bench.device.type == "cpu"
    args = SimpleNamespace(
        preset="tiny" if small else "base", global_size=64 if small else 224, local_size=32 if small else 96,
        batch_size=1 if small else 3, out_dim=128 if small else 65536, device=str(bench.device),
    )  # fmt: skip
    views = pretraining_step.batch(args)  # type: ignore[arg-type]
    step = pretraining_step.make(args, "endofm", not small, drop_path=0.1)  # type: ignore[arg-type]
    bench.reset_memory()
    seconds = bench.seconds(lambda: step(views))
    config = EncoderConfig.preset(args.preset, img_size=args.global_size)
    # Operations grow with the tokens of a view, nearly. Backward takes twice those of forward; the teacher sees the
    # first two views, forward only.
    clip = config.num_frames * config.img_size**2
    sizes = [view.shape[2] * view.shape[3] ** 2 / clip for view in views]
    work = args.batch_size * gflop_per_clip(config) * (3 * sum(sizes) + sum(sizes[:2]))
    yield {
        "clips_per_second": args.batch_size / seconds, "share_of_peak": work / seconds / bench.peak_gflops(),
        "peak_memory_mb": bench.peak_memory(),
    }  # fmt: skip


def _finetuning(bench: Bench) -> Iterator[Result]:
    """A step of full fine-tuning with a linear head."""
    network = bench.network().train()
    head = nn.Linear(bench.encoder.embed_dim, 2).to(bench.device)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=1e-5)
    for batch in bench.batches[:2]:
        clips, labels = bench.clips(batch), torch.zeros(batch, dtype=torch.long, device=bench.device)

        def step(clips: Tensor = clips, labels: Tensor = labels) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=bench.device.type == "cuda"):
                loss = F.cross_entropy(head(network(clips)).float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        bench.reset_memory()
        yield {
            "batch": batch, "clips_per_second": batch / bench.seconds(step), "peak_memory_mb": bench.peak_memory()
        }  # fmt: skip


def _processes(bench: Bench) -> Iterator[Result]:
    """Two processes that add up the gradients of the encoder: NCCL on two GPUs, gloo on a CPU."""
    if bench.device.type == "cuda" and torch.cuda.device_count() < 2:
        yield _skip("one CUDA device; two processes need two")
        return
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "seconds"
        store = Path(folder) / "store"
        torch.multiprocessing.spawn(_reduce, (bench, str(store), str(found)), nprocs=2)  # type: ignore[no-untyped-call]
        parameters = sum(p.numel() for p in bench.network().parameters())
        seconds = float(found.read_text())
    yield {"backend": _backend(bench), "milliseconds": 1e3 * seconds, "gb_per_second": 4 * parameters / 1e9 / seconds}


def _backend(bench: Bench) -> str:
    return "nccl" if bench.device.type == "cuda" else "gloo"


def _reduce(rank: int, bench: Bench, store: str, found: str) -> None:
    import torch.distributed as dist

    if bench.device.type == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(_backend(bench), init_method=f"file://{store}", rank=rank, world_size=2)
    device = torch.device("cuda", rank) if bench.device.type == "cuda" else bench.device
    flat = torch.cat([p.detach().flatten() for p in bench.network().parameters()]).to(device)
    seconds = bench.seconds(lambda: dist.all_reduce(flat))
    if rank == 0:
        Path(found).write_text(str(seconds))
    dist.destroy_process_group()


@dataclass(frozen=True)
class Part:
    """One part: what it runs and the most seconds it may take."""

    run: Callable[[Bench], Iterator[Result]]
    seconds: float


PARTS = {
    "clips": Part(_clips, 60),
    "pretraining-step": Part(_pretraining, 60),
    "attention": Part(_attention, 45),
    "finetuning-step": Part(_finetuning, 40),
    "preprocessing": Part(_preprocessing, 30),
    "decoding": Part(_decoding, 45),
    "processes": Part(_processes, 45),
    "tests": Part(_tests, 90),
    "ways": Part(_ways, 120),
}
"""In the order in which they run: the most important first, so that a lack of time costs the least."""
