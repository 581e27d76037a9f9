"""Head norm and teacher temperature of self-distillation, on real stills and on textures; docs/self_distillation.md."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from endofm.bench.readers.crop_pairs import crop_pairs
from endofm.config import EncoderConfig, PreprocessConfig
from endofm.config.checks import require_int
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.segmentation.mask_reading import read_mask_values
from endofm.data.stills.virtual_camera import CameraConfig
from endofm.errors import InputError
from endofm.evaluation.auroc import macro_auroc
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.evaluation.probes import knn_probe
from endofm.evaluation.ridge_probe import ridge_probe
from endofm.files import atomic_path, write_text
from endofm.models.encoder import VideoTransformer
from endofm.synthetic.set_plan import SetSettings
from endofm.training.config_schema import to_dict
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.run_checkpoints import CheckpointFolder, read_run_checkpoint
from endofm.training.objectives.endofm.endofm_config import EndoFMFixedConfig, HeadNorm
from endofm.training.pretrain import pretrain
from endofm.training.pretrain_config import PretrainConfig, PretrainDataConfig, PretrainModelConfig
from endofm.training.run_config import RunConfig
from endofm.video.frames import UInt8Array
from studies.study import Cell, Result, Study, StudySettings, require_finished
from studies.study_report import markdown_table, over_seeds, plus_minus
from studies.textures import KINDS, draw_textures

SCORES = {"k-NN": "k-NN", "linear": "linear probe"}
SIGNS = {"twin_retrieval": "twins found", "teacher_information": "teacher's information (nats)"}
"""Metrics of training that are drawn as curves, with their titles."""

TEXTURE_SIZE = 96


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Changes of an arm.

    Attributes:
        norm: See :class:`~endofm.training.objectives.endofm.endofm_config.ProjectionHeadConfig`.
        teacher_temp: Temperature of the teacher, from the first step to the last.
    """

    norm: HeadNorm
    teacher_temp: float


@dataclass(frozen=True, kw_only=True)
class SelfDistillationSettings(StudySettings):
    """Arms of self-distillation of one small encoder.

    Attributes:
        pictures: ``real``: stills of the folder that ENDOFM_REAL names, scored on polyp crops. ``textures``: an easy
            set, scored by the hue.
        textures: Textures to train on; half as many others are scored.
        camera: Path of the virtual camera.
        encoder: Architecture.
        batch_size: Clips per step.
        steps: Steps of every arm.
        states: States that are scored, the untrained network and the last one included.
        warmup_share: Fraction of the run in which the learning rate rises.
        objective: Objective that all arms share.
        arms: What each arm changes in it.
    """

    pictures: Literal["real", "textures"]
    textures: int = 640
    camera: CameraConfig
    encoder: EncoderConfig
    batch_size: int = 64
    steps: int
    states: int = 9
    warmup_share: float = 0.1
    objective: EndoFMFixedConfig
    arms: Mapping[str, Arm]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "textures", "batch_size", "steps")
        require_int(self, "states", low=2)

    def of_arm(self, name: str, epochs: int) -> EndoFMFixedConfig:
        """Return the objective of an arm in a run of ``epochs`` epochs."""
        arm, shared = self.arms[name], self.objective
        return replace(
            shared,
            head=replace(shared.head, norm=arm.norm),
            teacher_temp=arm.teacher_temp,
            warmup_teacher_temp=arm.teacher_temp,
            warmup_epochs=round(self.warmup_share * epochs),
        )

    def preprocess(self) -> PreprocessConfig:
        """Return the preprocessing: whole pictures, squeezed."""
        size = self.encoder.img_size
        return PreprocessConfig(num_frames=1, short_side=size, crop_size=size, crop="none", antialias=True)


@dataclass(frozen=True, eq=False)
class ScoredPictures:
    """Pictures with labels and a fixed split.

    Attributes:
        clips: Normalised, float32 ``(pictures, 3, 1, size, size)``.
        labels: Class of each, int64 ``(pictures,)``.
        groups: Group of each, which the choice of a penalty keeps together.
        test: Whether each is for the score, bool ``(pictures,)``.
        classes: Names of the classes.
    """

    clips: Tensor
    labels: npt.NDArray[np.int64]
    groups: Sequence[str]
    test: npt.NDArray[np.bool_]
    classes: tuple[str, ...]

    @torch.no_grad()
    def scores(self, encoder: VideoTransformer) -> dict[str, float]:
        """Return the mean AUROC over classes of 20 nearest neighbours, and of ridge regression."""
        tokens = torch.cat([encoder.eval()(part) for part in self.clips.split(256)]).numpy()
        train, test = (
            LabelledFeatures(
                embeddings=tokens[part],
                labels=self.labels[part],
                groups=(names := [name for name, chosen in zip(self.groups, part, strict=True) if chosen]),
                items=names,
                classes=self.classes,
            )
            for part in (~self.test, self.test)
        )
        found = {"k-NN": knn_probe(train, test, k=20), "linear": ridge_probe(train, test)}
        return {name: round(macro_auroc(values, test.labels), 4) for name, values in found.items()}


class SelfDistillationStudy(Study):
    """Trains every arm for the same number of steps, and scores states along the way."""

    settings_class = SelfDistillationSettings
    settings: SelfDistillationSettings

    def sets(self) -> Mapping[str, SetSettings]:
        """Return nothing: no video is rendered."""
        return {}

    def arms(self) -> list[str]:
        """Return the names of the arms."""
        return list(self.settings.arms)

    def dependencies(self, arm: str) -> Any:
        """Return all settings but those of other arms."""
        values = to_dict(self.settings)
        change = values.pop("arms")[arm]
        del values["seeds"]
        return {**values, "arm": change}

    def run(self, cell: Cell, folder: Path) -> Result:
        """Train, and score the untrained network and the checkpoints."""
        settings = self.settings
        stills, count, scored = self._textures() if settings.pictures == "textures" else self._real()
        per_epoch = count // settings.batch_size
        epochs = -(-settings.steps // per_epoch)
        between = max(round(settings.steps / (settings.states - 1)), 1)
        config = PretrainConfig(
            objective=settings.of_arm(cell.arm, epochs),
            data=PretrainDataConfig(stills=(str(stills),), camera=settings.camera),
            model=PretrainModelConfig(encoder=settings.encoder, preprocess=settings.preprocess()),
            run=RunConfig(
                epochs=epochs,
                max_steps=settings.steps,
                batch_size=settings.batch_size,
                precision="auto",
                accelerator="cpu",
                num_workers=0,
                seed=cell.seed,
                checkpoint_every_steps=between,
                checkpoint_every_epochs=epochs + 1,
                keep=2 * settings.states,
                log_every=10,
                loggers=("csv",),
                on_unhealthy="warn",
            ),
        )
        cpu = time.process_time()
        outcome = pretrain(config, folder / "run", progress=False)
        require_finished(outcome.finished)
        seconds = time.process_time() - cpu
        seed_all(cell.seed)  # as pretrain() does before it makes the encoder
        encoder = VideoTransformer(settings.encoder)
        states = [{"step": 0, "scores": scored.scores(encoder)}]
        checkpoints = CheckpointFolder(folder / "run" / "checkpoints")
        for step in reversed(checkpoints.steps()):
            teacher = read_run_checkpoint(checkpoints.path(step))["helpers"]["teacher"]
            tensors = {n.removeprefix("backbone."): t for n, t in teacher.items() if n.startswith("backbone.")}
            encoder.load_state_dict(tensors)
            states.append({"step": step, "scores": scored.scores(encoder)})
        return {
            "states": states,
            "signs": _signs(folder / "run" / "logs" / "train.csv"),
            "clips": outcome.step * settings.batch_size,
            # Of the last sitting alone, where the run was interrupted and resumed.
            "cpu_seconds": seconds,
        }

    def summarize(self, arm: str, results: Sequence[Result]) -> dict[str, Any]:
        """Return the curves over seeds, and what the arm cost."""
        states = [
            {
                "step": same[0]["step"],
                "scores": {name: over_seeds([state["scores"][name] for state in same]) for name in SCORES},
            }
            for same in zip(*(result["states"] for result in results), strict=True)
        ]
        return {
            "states": states,
            "signs": {name: results[0]["signs"][name] for name in SIGNS},
            "clips": results[0]["clips"],
            "cpu_seconds": float(np.mean([result["cpu_seconds"] for result in results])),
        }

    @classmethod
    def table(cls, summary: Mapping[str, Any]) -> str:
        """Return the untrained network, every arm's last state and its signs of learning."""
        heads = ["", *SCORES.values(), *SIGNS.values(), "clips", "CPU s"]
        rows = []
        arms = summary["arms"]
        if arms:
            untrained = next(iter(arms.values()))["states"][0]["scores"]
            rows.append(["untrained", *(plus_minus(untrained[name]) for name in SCORES), "", "", "", ""])
        for arm, row in arms.items():
            last = row["states"][-1]["scores"]
            signs = [" to ".join(f"{values[i][1]:.3f}" for i in (0, -1)) for values in row["signs"].values() if values]
            cost = [f"{row['clips']:,}", f"{row['cpu_seconds']:.0f}"]
            rows.append([arm, *(plus_minus(last[name]) for name in SCORES), *signs, *cost])
        return markdown_table(heads, rows)

    @classmethod
    def facts(cls, summary: Mapping[str, Any]) -> str:
        """Return what was trained and scored."""
        config = summary["config"]
        scored = "polyp crops of Kvasir-SEG (AUROC)" if config["pictures"] == "real" else "hues of tinted noise (AUROC)"
        return (
            f"{config['steps']} steps of {config['batch_size']} clips; scores: {scored}, in percent. Signs: first and "
            "last row of the log, first seed."
        )

    @classmethod
    def plot(cls, summary: Mapping[str, Any], path: Path) -> None:
        """Draw scores and signs of learning against clips."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 6), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True)
        batch = summary["config"]["batch_size"] / 1000
        for number, (arm, row) in enumerate(summary["arms"].items()):
            colour = f"C{number}"
            for axis, name in zip(axes[0], SCORES, strict=True):
                steps = [state["step"] * batch for state in row["states"]]
                every = np.array([state["scores"][name]["values"] for state in row["states"]])
                axis.plot(steps, every.mean(axis=1), color=colour, marker=".", label=arm)
                axis.plot(steps, every, color=colour, alpha=0.3, lw=0.8)
            for axis, name in zip(axes[1], SIGNS, strict=True):
                values = np.array(row["signs"][name], float).reshape(-1, 2)
                axis.plot(values[:, 0] * batch, values[:, 1], color=colour)
        titles = [f"AUROC, {title}" for title in SCORES.values()] + list(SIGNS.values())
        for axis, title in zip(axes.flat, titles, strict=True):
            axis.set_title(title, fontsize=10)
            axis.grid(alpha=0.3)
        for axis in axes[1]:
            axis.set_xlabel("thousand clips")
        axes[0, 0].legend(fontsize=8)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=110)

    def _real(self) -> tuple[Path, int, ScoredPictures]:
        """Return a list of stills to train on, their number, and polyp crops: those of the part ``val`` are scored."""
        root = Path(os.environ.get("ENDOFM_REAL", ""))
        if not (root / "kvasir_seg").is_dir():
            raise InputError("name the folder of real images in the environment variable ENDOFM_REAL")
        kvasir = root / "kvasir_seg"
        with (kvasir / "splits.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["near_duplicate_in_another_split"] == "0"]
        files = [kvasir / "images" / row["image"] for row in rows if row["split"] == "train"]
        for folder in ("vocalfolds/images", "laparoscopy"):
            files += sorted(path for path in (root / folder).rglob("*") if path.suffix in (".jpg", ".png"))
        listing = self.root / "pictures.csv"
        write_text(listing, "\n".join(["path,label", *(f"{path.resolve()}," for path in files)]) + "\n")
        crops, names, test = [], [], []
        for row in rows:
            image = read_frame(kvasir / "images" / row["image"])
            mask = read_mask_values(kvasir / "masks" / f"{Path(row['image']).stem}.png") > 127
            for regions in crop_pairs(image, mask, row["image"]):
                crops += [image[region] for region in regions]
                names += [row["image"]] * 2
                test += [row["split"] == "val"] * 2
        labels = np.tile(np.array([1, 0], np.int64), len(crops) // 2)
        scored = ScoredPictures(self._clips(crops), labels, names, np.array(test), ("background", "polyp"))
        return listing, len(files), scored

    def _textures(self) -> tuple[Path, int, ScoredPictures]:
        """Return a folder of textures to train on, their number, and these and others, which are scored."""
        count, folder = self.settings.textures, self.root / "textures"
        pictures, labels = draw_textures(count, TEXTURE_SIZE, seed=0)
        for number, picture in enumerate(pictures):
            with atomic_path(folder / f"{number:05}.png") as temporary:
                Image.fromarray(picture).save(temporary, format="png")
        others, other_labels = draw_textures(count // 2, TEXTURE_SIZE, seed=1)
        scored = ScoredPictures(
            self._clips(pictures + others),
            np.concatenate([labels, other_labels]),
            [str(number) for number in range(count + len(others))],
            np.arange(count + len(others)) >= count,
            KINDS,
        )
        return folder, count, scored

    def _clips(self, pictures: Sequence[UInt8Array]) -> Tensor:
        """Return pictures squeezed into the encoder's square and normalised, each a clip of one frame."""
        preprocess = self.settings.preprocess()
        square = (preprocess.crop_size, preprocess.crop_size)
        resized = [np.asarray(Image.fromarray(p).resize(square, Image.Resampling.BILINEAR)) for p in pictures]
        pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
        return ((pixels - mean) / std).unsqueeze(2)


def _signs(log: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every row of the log that has a sign of learning."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [(int(row["step"]), round(float(row[name]), 4)) for row in rows if row.get(name)] for name in SIGNS}
