"""``endofm extract``: feature files from videos."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endofm.cli.model_arguments import configure_work, tell_precision

if TYPE_CHECKING:
    from endofm.inference.video_paths import VideoItem
    from endofm.tasks.features.model import EndoFM
    from endofm.tasks.features.results import VideoFeatures
    from endofm.video.open import Decoder

SUMMARY = "embed videos: one feature file per video, restartable"

PICTURE_SUFFIX = ".png"
FORMATS = ("safetensors", "npz", "parquet", "h5")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="videos, folders (searched through), folders of frames"
    )
    parser.add_argument(
        "--list", dest="lists", action="append", default=[], metavar="FILE", help="text file, a path a line"
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="folder for the feature files")
    parser.add_argument(
        "--weights", required=True, help="registry name, owner/repo[@revision], folder, .safetensors or .pth file"
    )
    parser.add_argument("--level", choices=("clip", "frame", "patch"), default="clip", help="how fine (default: clip)")
    windows = parser.add_argument_group("windows")
    windows.add_argument("--window", type=float, metavar="SECONDS", help="length (default: as the weights say)")
    windows.add_argument("--hop", type=float, metavar="SECONDS", help="step (default: the length)")
    windows.add_argument("--frame-stride", type=int, metavar="N", help="count source frames instead: every n-th one")
    windows.add_argument("--hop-frames", type=int, metavar="N", help="step of such windows in source frames")
    parser.add_argument("--fps", type=float, help="rate of folders of frames, which have no times (default: 30)")
    parser.add_argument(
        "--field-of-view",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="crop to the endoscope's image, leaving out borders and text panels (default: as the weights say)",
    )
    parser.add_argument("--format", choices=FORMATS, default="safetensors", help="of the files (default: safetensors)")
    parser.add_argument("--plot", action="store_true", help="draw each video's timeline beside its features")
    work = configure_work(parser, batch_size=4, unit="clips", int8=True)
    work.add_argument(
        "--decoder",
        choices=("pyav", "torchcodec"),
        default="pyav",
        help="of video files (default: pyav); torchcodec decodes where the model is, so on a GPU by its decoder",
    )
    work.add_argument("--jobs", type=int, default=1, metavar="N", help="videos at a time, each with its own model")
    work.add_argument("--threads", type=int, metavar="N", help="CPU threads of one model (default: cores / jobs)")
    parser.add_argument("--overwrite", action="store_true", help="begin anew, also with other settings")
    parser.add_argument("--quiet", action="store_true", help="no progress bars and no summary")


def run(args: argparse.Namespace) -> int:
    """Embed the videos; the status is 1 if one of them failed."""
    from endofm.errors import InputError, require_extra
    from endofm.inference.job import MANIFEST_NAME, run_job
    from endofm.inference.video_paths import find_videos, read_list

    items = find_videos([*args.paths, *(path for name in args.lists for path in read_list(name))])
    if not items:
        raise InputError("no videos given; name files or folders, or a list with --list")
    for name, wanted in (("jobs", args.jobs), ("threads", args.threads)):
        if wanted is not None and wanted < 1:
            raise InputError(f"--{name} must be at least 1, got {wanted}")
    if args.plot:
        require_extra("matplotlib", "viz", "Drawing a timeline (--plot)")
    for module, suffix in (("pyarrow", "parquet"), ("h5py", "h5")):
        if args.format == suffix:
            require_extra(module, suffix, f"Writing .{suffix} feature files")
    extractor = Extractor(
        weights=args.weights,
        local_files_only=args.local_files_only,
        device=args.device,
        threads=args.threads or _threads_per_job(args.jobs),
        options={
            "level": args.level,
            "window_seconds": args.window,
            "hop_seconds": args.hop,
            "frame_stride": args.frame_stride,
            "hop_frames": args.hop_frames,
            "batch_size": args.batch_size,
            "field_of_view": args.field_of_view,
        },
        fps=args.fps,
        decoder=args.decoder,
        precision=args.precision,
        plot=args.plot,
        progress=not args.quiet and args.jobs == 1,
    )
    # Loaded here too when other processes do the work: wrong weights are one error now, not one per video.
    model = extractor.load()
    tell_precision(model, args)
    config = model.config
    settings = {
        "weights": config.name or Path(args.weights).name,
        "weights_sha256": model.provenance.get("sha256", ""),
        **{key: value for key, value in extractor.options.items() if key != "batch_size"},
        "fps": args.fps,
        "decoder": args.decoder,
        "precision": model.precision,
        "preprocess": asdict(config.preprocess),
    }
    if args.jobs > 1:
        del model
        _load.cache_clear()
    report = run_job(
        items,
        args.out,
        extractor,
        suffix=f".{args.format}",
        settings=settings,
        companion=PICTURE_SUFFIX if args.plot else "",
        jobs=args.jobs,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    for entry in report.entries:
        for problem in entry.problems:
            print(f"endofm: note: {entry.source}: {problem}", file=sys.stderr)
    for entry in report.failed:
        print(f"endofm: failed: {entry.error}", file=sys.stderr)
    if not args.quiet:
        clips = sum(entry.clips for entry in report.entries)
        made = len(report.entries) - len(report.failed)
        print(
            f"{made} of {len(report.entries)} videos in {args.out} ({report.skipped} of them done before), "
            f"{clips} clips; details in {Path(args.out) / MANIFEST_NAME}"
        )
        if not config.trained:
            print("The weights are random: these features mean nothing.")
    return int(bool(report.failed))


@dataclass(frozen=True)
class Extractor:
    """The work on one video, in whatever process it runs: settings, of which each process makes its model once."""

    weights: str
    local_files_only: bool
    device: str | None
    threads: int
    options: dict[str, Any]
    fps: float | None
    decoder: Decoder
    precision: str
    plot: bool
    progress: bool

    def load(self) -> EndoFM:
        """Return the model, loading it at the first call in this process."""
        return _load(self.weights, self.local_files_only, self.device, self.precision, self.threads)

    def __call__(self, item: VideoItem, target: Path) -> VideoFeatures:
        """Embed one video and write its files."""
        from endofm.video.open import open_video

        model = self.load()
        fps, device = self.fps if item.path.is_dir() else None, str(model.device)
        with open_video(item.path, fps=fps, decoder=self.decoder, device=device) as source:
            features = model.extract_features(source, progress=self.progress, **self.options)
            if self.plot:
                from endofm.visualize.timeline import plot_timeline

                plot_timeline(features, target.with_name(target.name + PICTURE_SUFFIX), source=source)
        features.save(target)
        return features


@lru_cache(maxsize=1)
def _load(weights: str, local_files_only: bool, device: str | None, precision: Any, threads: int) -> EndoFM:
    import torch

    from endofm import EndoFM

    torch.set_num_threads(threads)
    return EndoFM.from_pretrained(weights, local_files_only=local_files_only, device=device, precision=precision)


def _threads_per_job(jobs: int) -> int:
    import torch

    return max(torch.get_num_threads() // jobs, 1)
