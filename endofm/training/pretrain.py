"""Pre-training: data, objective, initial weights and the loop, put together from one configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from endofm.config import EncoderConfig, ModelConfig
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.listing import read_clips
from endofm.data.loader import ClipLoader
from endofm.data.shards import ShardDataset
from endofm.errors import ConfigError
from endofm.hub.checkpoint import read_checkpoint
from endofm.hub.encoder_tensors import default_preprocess
from endofm.hub.resolve import LoadedWeights, load_weights
from endofm.tasks.features.model import EndoFM
from endofm.training.engine.loading import load_share
from endofm.training.engine.loop import RunResult, fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.task import Share
from endofm.training.export import DataSource, EncoderExporter
from endofm.training.knn_watch import KnnWatch
from endofm.training.objectives.distillation import build as distillation
from endofm.training.objectives.distillation.config import DistillationConfig
from endofm.training.objectives.interface import ObjectiveParts, Start
from endofm.training.objectives.vcl import task as vcl
from endofm.training.pretrain_config import DataConfig, InitConfig, PretrainConfig


def pretrain(config: PretrainConfig, folder: str | Path, *, progress: bool = True) -> RunResult:
    """Pre-train an encoder, or go on with it if the folder holds a part of this run.

    Args:
        config: All settings.
        folder: Folder of the run. At the end ``export`` in it is a model folder for ``EndoFM.from_pretrained``.
        progress: Show progress.

    Raises:
        EndoFMError: As :func:`~endofm.training.engine.loop.fit`, and if data or initial weights cannot be read.

    Example:
        >>> from endofm.training.config import load_config
        >>> config = load_config(PretrainConfig, "nano.yaml", ["data.clips=clips"])  # doctest: +SKIP
        >>> pretrain(config, "runs/mine").folder  # doctest: +SKIP
        PosixPath('runs/mine')
    """
    table, sources = _list(config.data)
    start, words = _start(config)
    seed_all(config.run.seed)
    parts = _build(config, start)
    skipped: dict[str, str] = {}
    parts.task.exporter = EncoderExporter(start.model, sources, words, skipped)

    def data(share: Share) -> ClipLoader:
        if config.knn.clips:
            watch = KnnWatch(config.knn, start.model, trained_on=table, num_workers=min(config.run.num_workers, 2))
            parts.task.watcher, parts.task.extra_health_rules = watch, watch.health_rules()
        loader = _loader(config, table, parts, share)
        loader.skipped = skipped
        return loader

    return fit(parts.task, data, config.run, folder, config=config, progress=progress)


def _list(data: DataConfig) -> tuple[ClipTable | None, list[DataSource]]:
    """Return the clips of folders and lists, and what a card says of all sources."""
    if data.shards is not None:
        return None, [DataSource(Path(data.shards).resolve().name, len(ShardDataset(data.shards)))]
    return read_clips(*data.clips), [DataSource(_title(source), len(read_clips(source))) for source in data.clips]


def _title(source: str) -> str:
    path = Path(source).resolve()
    return path.name if path.is_dir() else f"{path.parent.name}/{path.name}"


def _loader(config: PretrainConfig, table: ClipTable | None, parts: ObjectiveParts, share: Share) -> ClipLoader:
    how: dict[str, Any] = {
        "sampler": parts.sampler,
        "transform": parts.transform,
        "seed": config.run.seed,
        "clock": config.data.clock,
    }
    source = ShardDataset(str(config.data.shards), **how) if table is None else ClipDataset(table, **how)
    return load_share(source, share, drop_last=True)


def _start(config: PretrainConfig) -> tuple[Start, str]:
    """Return what the run begins with, and the same in words."""
    init, wanted = config.init, config.model
    loaded = _load(init, wanted.encoder) if init.source is not None else None
    encoder = wanted.encoder or (loaded.config.encoder if loaded else EncoderConfig())
    # Stochastic depth is the objective's to set.
    encoder = replace(encoder, drop_path_rate=0.0)
    if loaded is not None and replace(loaded.config.encoder, drop_path_rate=0.0) != encoder:
        raise ConfigError(
            f"model.encoder is another architecture than that of init.source ({init.source}); leave model.encoder out "
            f"to take it over. Asked for: {encoder}. There: {loaded.config.encoder}"
        )
    preprocess = wanted.preprocess or (loaded.config.preprocess if loaded else default_preprocess(encoder))
    model = ModelConfig(encoder=encoder, preprocess=preprocess, name=wanted.name, license=wanted.license)
    if loaded is None or loaded.state_dict is None:
        return Start(model=model), "random weights"
    checkpoint = read_checkpoint(str(init.source)) if init.training_state else None
    words = f"`{Path(loaded.provenance.get('source', '')).name}`"
    if "sha256" in loaded.provenance:
        words += f" (sha256 `{loaded.provenance['sha256']}`)"
    if checkpoint is not None:
        words += ", with its projection head and centre"
    return Start(model=model, encoder=loaded.state_dict, checkpoint=checkpoint), words


def _load(init: InitConfig, encoder: EncoderConfig | None) -> LoadedWeights:
    path = Path(str(init.source))
    # Original checkpoints do not say how many attention heads they have.
    silent = path.is_file() and path.suffix != ".safetensors"
    loaded = load_weights(str(init.source), num_heads=encoder.num_heads if silent and encoder else None)
    if loaded.config.head is not None:
        encoder_alone = EndoFM.from_loaded(loaded)
        loaded = replace(loaded, config=encoder_alone.config, state_dict=encoder_alone.state_dict())
    if init.training_state and not silent:
        raise ConfigError(
            f"init.training_state: {init.source} is no file; projection head and centre are in the original training "
            "checkpoint (.pth) alone"
        )
    return loaded


def _build(config: PretrainConfig, start: Start) -> ObjectiveParts:
    objective = config.objective
    build: Callable[..., ObjectiveParts] = (
        distillation.build if isinstance(objective, DistillationConfig) else vcl.build
    )
    return build(objective, start)
