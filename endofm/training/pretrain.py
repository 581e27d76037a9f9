"""Pre-training: data, objective, initial weights and the training loop, assembled from one configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from endofm.address import Address, located
from endofm.config import EncoderConfig, ModelConfig
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable, join_tables
from endofm.data.listing import Missing, read_clips
from endofm.data.loader import ClipLoader
from endofm.data.shards import ShardDataset
from endofm.data.stills.layouts import read_stills
from endofm.data.stills.still import still_table
from endofm.errors import ConfigError, EndoFMWarning
from endofm.files import require_writable
from endofm.hub.card_text import as_code
from endofm.hub.checkpoint_file import read_checkpoint
from endofm.hub.encoder_tensors import default_preprocess
from endofm.hub.resolve import LoadedWeights, load_weights
from endofm.tasks.features.model import EndoFM
from endofm.training.encoder_export import DataSource, EncoderExporter
from endofm.training.engine.devices import choose_accelerator
from endofm.training.engine.feed import clip_loader
from endofm.training.engine.fit import RunResult, fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import DataFactory, LoaderSpec, TrainingData
from endofm.training.knn_evaluator import KnnEvaluator
from endofm.training.objectives.distill import distill_task
from endofm.training.objectives.distill.distill_config import DistillConfig
from endofm.training.objectives.endofm import endofm_task
from endofm.training.objectives.endofm.endofm_config import EndoFMObjectiveConfig
from endofm.training.objectives.pretraining_task import ObjectiveParts, PretrainingTask, Start
from endofm.training.objectives.vcl import vcl_task
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.pretrain_config import InitConfig, PretrainConfig, PretrainDataConfig


class LeftOutWarning(EndoFMWarning):
    """Some images of a source of stills are not trained on."""


def pretrain(config: PretrainConfig, folder: str | Path, *, progress: bool = True) -> RunResult:
    """Pre-train an encoder, or resume if the folder holds a part of this run.

    Args:
        config: All settings.
        folder: Folder of the run. At the end its subfolder ``export`` is a model folder for
            ``EndoFM.from_pretrained``.
        progress: Show progress.

    Raises:
        EndoFMError: As :func:`~endofm.training.engine.fit.fit`, and if data or initial weights cannot be read.

    Example:
        >>> from endofm.training.config_files import load_config
        >>> config = load_config(PretrainConfig, "nano.yaml", ["data.clips=clips"])  # doctest: +SKIP
        >>> pretrain(config, "runs/mine").folder  # doctest: +SKIP
        PosixPath('runs/mine')
    """
    require_writable(folder)
    table, sources = _read_sources(config.data)
    start, origin = _initial_state(config)
    # Before the networks are built: heads and random encoders must be equal in every process.
    seed_all(config.run.seed)
    skipped: dict[str, str] = {}
    task, reader = _task_and_reader(config, start, table, skipped)
    task.exporter = EncoderExporter(start.model, sources, origin, skipped)

    def data(spec: LoaderSpec) -> TrainingData:
        # The evaluator shards its clips as well, so it is built here, where the processes are known.
        if config.knn.clips:
            workers = min(config.run.num_workers, 2)
            evaluator = KnnEvaluator(config.knn, start.model, trained_on=table, num_workers=workers)
            task.evaluator, task.extra_health_rules = evaluator, evaluator.health_rules()
        return reader(spec)

    return fit(task, data, config.run, folder, config=config, progress=progress)


def _task_and_reader(
    config: PretrainConfig, start: Start, table: ClipTable | None, skipped: dict[str, str]
) -> tuple[PretrainingTask, DataFactory]:
    """Return the task, and what makes the data of a process; ``skipped`` receives the clips that cannot be read."""
    if isinstance(config.objective, DistillConfig):
        assert table is not None  # the configuration refuses shards
        run = config.run
        pictures = distill_task.build(
            config.objective, start, table, seed=run.seed, device=choose_accelerator(run), report=print
        )
        skipped |= pictures.skipped
        return pictures.task, pictures.data
    parts = build_objective(config.objective, start)

    def reader(spec: LoaderSpec) -> TrainingData:
        loader = _loader(config, table, parts, spec)
        loader.skipped = skipped
        return loader

    return parts.task, reader


def build_objective(objective: EndoFMObjectiveConfig | VCLConfig, start: Start) -> ObjectiveParts:
    """Return task, frame sampler and transform of an objective; its random weights come from torch's generator."""
    build: Callable[..., ObjectiveParts] = (
        endofm_task.build if isinstance(objective, EndoFMObjectiveConfig) else vcl_task.build
    )
    return build(objective, start)


def _read_sources(data: PretrainDataConfig) -> tuple[ClipTable | None, list[DataSource]]:
    """Return the clips (None for shards, which are not listed), and all sources as named in the card."""
    if data.shards is not None:
        return None, [DataSource(_title(data.shards), len(ShardDataset(data.shards)))]
    # Labels are not used, so that none of them is checked.
    missing: Missing = "leave out" if data.allow_missing else "refuse"
    tables = [read_clips(*data.clips, classes=(), missing=missing)] if data.clips else []
    listed = {source: read_clips(source, classes=(), missing=missing) for source in data.clips}
    sources = [DataSource(_title(source), len(table), table.notes) for source, table in listed.items()]
    listings = [read_stills(source).part("train") for source in data.stills]
    for source, listing in zip(data.stills, listings, strict=True):
        for note in listing.left_out(source, allow=True):
            warnings.warn(note, LeftOutWarning, stacklevel=2)
    if listings:
        tables.append(still_table(listings))
        sources += [
            DataSource(f"{_title(source)}: stills, moved by the virtual camera", len(listing.stills))
            for source, listing in zip(data.stills, listings, strict=True)
        ]
    return join_tables(tables), sources


def count_clips(data: PretrainDataConfig) -> int:
    """Return the number of clips that a run would train on; errors as :func:`pretrain`."""
    table, sources = _read_sources(data)
    return sum(source.clips for source in sources) if table is None else len(table)


def _title(source: str) -> str:
    # The card is published: it names a source without the folders of this machine.
    place = located(source)
    if isinstance(place, Address):
        return place.name
    path = place.resolve()
    return path.name if path.is_dir() else f"{path.parent.name}/{path.name}"


def _loader(config: PretrainConfig, table: ClipTable | None, parts: ObjectiveParts, spec: LoaderSpec) -> ClipLoader:
    options: dict[str, Any] = {
        "sampler": parts.sampler,
        "transform": parts.transform,
        "seed": config.run.seed,
        "clock": config.data.clock,
    }
    if table is None:
        return clip_loader(ShardDataset(str(config.data.shards), **options), spec, drop_last=True)
    source = ClipDataset(table, **options, camera=config.data.camera if config.data.stills else None)
    return clip_loader(source, spec, drop_last=True)


def _initial_state(config: PretrainConfig) -> tuple[Start, str]:
    """Return the initial state of the run, and its description for the card."""
    init, requested = config.init, config.model
    loaded = _load(init, requested.encoder) if init.source is not None else None
    encoder = requested.encoder or (loaded.config.encoder if loaded else EncoderConfig())
    # Stochastic depth is a setting of the objective, not of the model that results.
    encoder = replace(encoder, drop_path_rate=0.0)
    if loaded is not None and replace(loaded.config.encoder, drop_path_rate=0.0) != encoder:
        raise ConfigError(
            f"model.encoder differs from the architecture of init.source ({init.source}); omit model.encoder "
            f"to use that of the source. Requested: {encoder}. Source: {loaded.config.encoder}"
        )
    preprocess = requested.preprocess or (loaded.config.preprocess if loaded else default_preprocess(encoder))
    model = ModelConfig(encoder=encoder, preprocess=preprocess, name=requested.name, license=requested.license)
    if loaded is None or loaded.state_dict is None:
        return Start(model=model), "random weights"
    checkpoint = read_checkpoint(str(init.source)) if init.training_state else None
    origin = as_code(Path(loaded.provenance.get("source", "")).name)
    if "sha256" in loaded.provenance:
        origin += f" (sha256 `{loaded.provenance['sha256']}`)"
    if checkpoint is not None:
        origin += ", with its projection head and centre"
    return Start(model=model, encoder=loaded.state_dict, checkpoint=checkpoint), origin


def _load(init: InitConfig, encoder: EncoderConfig | None) -> LoadedWeights:
    path = Path(str(init.source))
    # Published checkpoints do not record their number of attention heads: equal shapes fit any number.
    published = path.is_file() and path.suffix != ".safetensors"
    loaded = load_weights(str(init.source), num_heads=encoder.num_heads if published and encoder else None)
    if loaded.config.head is not None:
        encoder_only = EndoFM.from_loaded(loaded)
        loaded = replace(loaded, config=encoder_only.config, state_dict=encoder_only.state_dict())
    if init.training_state and not published:
        raise ConfigError(
            f"init.training_state: {init.source} is not a file; only a published training checkpoint (.pth) holds "
            "projection head and centre"
        )
    return loaded
