"""``endofm extract``: feature files from videos."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endofm.cli.batch import (
    collect_videos,
    configure_batch,
    run_shared_batch,
    show_plan,
    summarize,
    take_default_weights,
)
from endofm.cli.model_arguments import configure_windows, split_weights
from endofm.cli.model_loader import ModelLoader
from endofm.cli.printing import say

if TYPE_CHECKING:
    from endofm.address import Address
    from endofm.inference.job import ItemResult
    from endofm.inference.job_plan import Sample
    from endofm.inference.video_paths import VideoItem
    from endofm.pool import Division
    from endofm.tasks.features.model import VideoEncoder
    from endofm.tasks.features.results import VideoFeatures
    from endofm.tasks.features.video_parts import ReadBatch, VideoPart
    from endofm.video.frames import VideoSource
    from endofm.video.open import Decoder

SUMMARY = "embed videos: one feature file per video, restartable"
EXAMPLES = (
    "endofm extract procedure.mp4 -o features/ --weights endofm-nano-4x96",
    "endofm extract recordings/ -o features/ --window-seconds 2 --plot",
    "endofm extract recordings/ -o features/ --weights surgmotion-l,endovit-b,endomamba-s",
)

PUBLISHED_WEIGHTS = "endofm-base-8x224"
PACKAGED_WEIGHTS = "endofm-nano-4x96"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    work = configure_batch(
        parser,
        results="feature files",
        batch_size=4,
        unit="clips",
        int8=True,
        default_weights=PUBLISHED_WEIGHTS,
        several_weights=True,
    )
    parser.add_argument(
        "--level", choices=("clip", "frame", "patch"), default="clip", help="feature level (default: clip)"
    )
    configure_windows(parser)
    parser.add_argument(
        "--format",
        type=_feature_format,
        default="safetensors",
        metavar="FORMAT",
        help="safetensors (default), npz, parquet, h5, zarr, pt, csv, or parquet-dataset: one table of all videos",
    )
    # Of a Parquet data set.
    parser.set_defaults(folder_suffixes=(".parquet",))
    parser.add_argument("--plot", action="store_true", help="draw each video's timeline next to its features (.png)")
    work.add_argument(
        "--decoder",
        choices=("pyav", "torchcodec"),
        default="pyav",
        help="decoder of video files (default: pyav); torchcodec decodes on the model's device, on a GPU in hardware",
    )


def run(args: argparse.Namespace) -> int:
    """Embed the videos; the status is 1 if one of them failed."""
    from endofm.errors import InputError, require_extra
    from endofm.tasks.features.files import require_feature_format
    from endofm.tasks.features.parquet_set import SET_FORMAT, SET_SUFFIX, set_items
    from endofm.video.clip_windows import WindowSettings

    items = collect_videos(args)
    if args.plot:
        require_extra("matplotlib", "viz", "Drawing a timeline (--plot)")
    suffix = args.format
    if args.format == SET_FORMAT:
        if args.plot:
            raise InputError("--plot: a Parquet data set holds nothing but features; draw timelines in another folder")
        suffix = SET_SUFFIX.removeprefix(".")
    elif args.out.suffix == SET_SUFFIX:
        raise InputError(
            f"{args.out}: a folder of this name is a Parquet data set; pass --format {SET_FORMAT}, or name another one"
        )
    require_feature_format(f"features.{suffix}")
    if args.decoder == "torchcodec":
        from endofm.video.torchcodec_source import require_torchcodec

        require_torchcodec()
    about = (
        "the published model, whose checkpoint (2.2 GB) is downloaded once and cached. "
        f"Offline: --weights {PACKAGED_WEIGHTS}, a small model in this package"
    )
    take_default_weights(args, PUBLISHED_WEIGHTS, about)
    windows = {name: getattr(args, name) for name in ("window_seconds", "hop_seconds", "frame_stride", "hop_frames")}
    folders = _folders(args.out, split_weights(args.weights), SET_SUFFIX * (args.format == SET_FORMAT))
    if args.format == SET_FORMAT:
        items[:] = set_items(items, next(iter(folders)))
    loaders = {out: ModelLoader.for_weights("features", weights, args) for out, weights in folders.items()}
    trained = True
    for loader in loaders.values():
        model = loader.load()
        # Checked before there is an output folder; the work itself would report the same mistake once per video.
        WindowSettings.for_preprocess(model.config.preprocess, **windows)
        trained = trained and model.config.trained
        del model
    options = {**windows, "level": args.level}
    suffixes = (f".{suffix}", *([f".{suffix}.png"] if args.plot else []))
    extractor = Extractor(
        loaders=tuple(loaders.values()),
        options={**options, "batch_size": args.batch_size, "field_of_view": args.field_of_view},
        fps=args.fps,
        decoder=args.decoder,
        progress=not args.quiet and args.jobs == 1,
    )
    settings = {**options, "decoder": args.decoder}
    if args.dry_run:
        return show_plan(args, items, loaders, extractor, suffixes=suffixes, settings=settings)
    reports = run_shared_batch(args, items, loaders, extractor, suffixes=suffixes, settings=settings)
    if not args.quiet:
        for out, report in zip(loaders, reports, strict=True):
            clips = sum(entry.summary.get("clips", 0) for entry in report.entries)
            say(summarize(report, out, f"{clips} clips"))
        if not trained:
            print("The weights are random: these features mean nothing.")
    return int(any(report.failed for report in reports))


def _folders(out: Path | Address, weights: list[str], suffix: str) -> dict[Path | Address, str]:
    """Return the weights by their output folders: the given one, or one in it for each of several weights.

    Args:
        out: The given folder.
        weights: The weights.
        suffix: Suffix of the folders of several weights.

    Raises:
        InputError: If there are none, or two have one folder.
    """
    from endofm.errors import InputError

    if not weights:
        raise InputError("--weights names no weights; give a name, or several separated by commas")
    if len(weights) == 1:
        return {out: weights[0]}
    folders: dict[Path | Address, str] = {}
    for one in weights:
        # A path is known by its last part; the characters of other names that are special in paths are replaced.
        name = Path(one).resolve().name if Path(one).exists() else re.sub(r"[/\\:@]+", "-", one)
        name += suffix
        if out / name in folders:
            raise InputError(
                f"--weights: {folders[out / name]} and {one} would both be written to {out / name}; extract them one "
                "at a time, into folders of their own"
            )
        folders[out / name] = one
    return folders


@dataclass(frozen=True)
class Extractor:
    """Picklable work on one video, which is read once for all encoders; each process loads these once.

    Attributes:
        loaders: Loaders of the encoders.
        options: Arguments of :func:`~endofm.tasks.features.model.extract_features`.
        fps: Frame rate of folders of frames.
        decoder: Decoder of video files.
        progress: Show a progress bar over the clips.
    """

    loaders: tuple[ModelLoader, ...]
    options: dict[str, Any]
    fps: float | None
    decoder: Decoder
    progress: bool

    def __call__(self, item: VideoItem, targets: Mapping[int, tuple[Path, ...]]) -> dict[int, ItemResult]:
        """Embed one video and write its feature files, and timelines where there is a second target."""
        from endofm import extract_features

        models = self._models(targets)
        with self._opened(item, models) as source:
            found = extract_features(source, models, progress=self.progress, **self.options)
            return self._written(item, targets, found, source)

    def sample(self, item: VideoItem) -> Sample:
        """Return what embedding a second of a video takes."""
        from contextlib import ExitStack

        from endofm.inference.job_plan import measure
        from endofm.tasks.features.model import open_streams
        from endofm.tasks.features.stream import embed_together

        models = self._models(range(len(self.loaders)))
        with self._opened(item, models) as source, ExitStack() as stack:
            streams = open_streams(stack, source, models, **self.options)
            return measure(
                embed_together(streams),
                lambda embedded: float(embedded[1].end_seconds[-1]),
                lambda embedded: sum(array.nbytes for array in embedded[1].arrays().values()),
            )

    def divide(self, item: VideoItem, folders: Sequence[int], seconds: float) -> Division | None:
        """Return the parts of a long video, unless it is damaged."""
        from endofm.pool import Division
        from endofm.tasks.features.video_parts import divide_video

        # What decodes on the GPU is not asked to start in the middle.
        if item.path.is_dir() or self.decoder != "pyav":
            return None
        models = self._models(folders)
        with self._opened(item, models) as source:
            divided = divide_video(source, models, seconds, **self.options)
        if divided is None:
            return None
        return Division(divided.parts, dict(zip(folders, divided.provenance, strict=True)))

    def read_part(self, item: VideoItem, part: VideoPart) -> Iterator[ReadBatch]:
        """Yield the batches of a part; no model is loaded."""
        from endofm.tasks.features.video_parts import read_part
        from endofm.video.open import open_video

        with open_video(item.path) as source:
            yield from read_part(source, part)

    def do_part(
        self, item: VideoItem, folders: Sequence[int], part: VideoPart, read: Iterable[ReadBatch] | None = None
    ) -> dict[int, Any] | None:
        """Return the arrays of a part by folder; None if the video is damaged."""
        from endofm.tasks.features.video_parts import embed_part

        models = self._models(folders)
        with self._opened(item, models) as source:
            arrays = embed_part(source, models, part, read, **self.options)
        return None if arrays is None else dict(zip(folders, arrays, strict=True))

    def join(
        self,
        item: VideoItem,
        targets: Mapping[int, tuple[Path, ...]],
        common: Mapping[int, Mapping[str, Any]],
        results: Sequence[Mapping[int, Any]],
    ) -> dict[int, ItemResult]:
        """Write the files of a video whose parts have been embedded."""
        from endofm.tasks.features.video_parts import join_parts

        found = [join_parts(common[index], [result[index] for result in results]) for index in targets]
        with self._opened(item, self._models(targets)) as source:
            return self._written(item, targets, found, source)

    def _models(self, folders: Iterable[int]) -> list[VideoEncoder]:
        return [self.loaders[index].load() for index in folders]

    def _opened(self, item: VideoItem, models: Sequence[VideoEncoder]) -> VideoSource:
        from endofm.video.open import open_video

        fps = self.fps if item.path.is_dir() else None
        return open_video(item.path, fps=fps, decoder=self.decoder, device=str(models[0].device))

    def _written(
        self,
        item: VideoItem,
        targets: Mapping[int, tuple[Path, ...]],
        found: Sequence[VideoFeatures],
        source: VideoSource,
    ) -> dict[int, ItemResult]:
        from endofm.inference.job import ItemResult
        from endofm.tasks.features.parquet_set import save_part

        results = {}
        for (index, (file, *pictures)), features in zip(targets.items(), found, strict=True):
            for picture in pictures:
                from endofm.visualize.timeline import plot_timeline

                plot_timeline(features, picture, source=source)
            if item.name:
                save_part(features, file, item.name)
            else:
                features.save(file)
            seconds = float(features.end_seconds[-1]) if len(features) else 0.0
            summary = {"clips": len(features), "seconds": seconds, **({"video": item.name} if item.name else {})}
            results[index] = ItemResult(summary=summary, problems=features.problems)
        return results


def _feature_format(name: str) -> str:
    # A type and not choices: building the parser must not import numpy, which the table of formats needs.
    from endofm.tasks.features.files import FEATURE_SUFFIXES
    from endofm.tasks.features.parquet_set import SET_FORMAT

    names = [*(suffix.removeprefix(".") for suffix in FEATURE_SUFFIXES), SET_FORMAT]
    if name not in names:
        raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(names)})")
    return name
