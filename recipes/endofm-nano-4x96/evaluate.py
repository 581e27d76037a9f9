"""Score an encoder, and the same network with random weights.

``python recipes/endofm-nano-4x96/evaluate.py MODEL LABELLED... [--videos FOLDER] [--out scores.json]``

On rendered clips of unseen patients: "polyp in view" by k nearest neighbours and by a linear probe, over five splits by
patient (and five random networks). On recordings: how often the nearest neighbour of a window, overlapping windows
excluded, comes from the same recording.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from endofm import EndoFM
from endofm.data.clip_dataset import ClipDataset
from endofm.data.frame_samplers import UniformFrames
from endofm.data.group_splits import split_by_group
from endofm.data.loader import ClipLoader
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.evaluation.probes import knn_probe, linear_probe
from endofm.files import atomic_path
from endofm.video.find import walk

SEEDS = range(5)


def untrained(model: EndoFM, seed: int) -> EndoFM:
    """Return the same network with random weights."""
    torch.manual_seed(seed)
    twin = EndoFM(model.config).eval()
    return twin


@torch.no_grad()
def embed(model: EndoFM, folder: Path) -> LabelledFeatures:
    data = ClipDataset(
        folder, sampler=UniformFrames(model.processor.config.num_frames), transform=lambda x, _: model.processor(x)
    )
    loader = ClipLoader(data, 32, shuffle=False)
    batches = list(loader)
    order = np.concatenate([batch.indices.numpy() for batch in batches])
    return LabelledFeatures(
        embeddings=np.concatenate([model(batch.frames).numpy() for batch in batches]),
        labels=np.concatenate([batch.labels.numpy() for batch in batches]),
        groups=[data.table.group(int(index)) for index in order],
        items=[data.table.id[int(index)] for index in order],
        classes=data.classes,
    )


def probes(features: LabelledFeatures, folder: Path, seed: int) -> dict[str, float]:
    table = ClipDataset(folder).table
    parts = split_by_group(table, {"learn": 0.6, "test": 0.4}, seed=seed)
    learn, test = features.take(parts["learn"]), features.take(parts["test"])
    scores = {}
    for name, votes in (("k-NN", knn_probe(learn, test)), ("linear", linear_probe(learn, test))):
        scores[f"{name} F1"] = f1_score(test.labels, votes.argmax(axis=1))
        scores[f"{name} balanced accuracy"] = balanced_accuracy_score(test.labels, votes.argmax(axis=1))
        scores[f"{name} AUROC"] = roc_auc_score(test.labels, votes[:, 1])
    return {name: float(value) for name, value in scores.items()}


def recordings(model: EndoFM, folder: Path) -> dict[str, float]:
    """Return how often the nearest window is in the same recording, and how often it would be by chance."""
    rows, names, starts = [], [], []
    for number, path in enumerate(folder / name for name in walk(folder).videos):
        features = model.extract_features(path, window_seconds=1.0, hop_seconds=0.5, progress=False)
        rows.append(features.embeddings)
        names += [number] * len(features.embeddings)
        starts += features.start_seconds.tolist()
    unit = np.concatenate(rows)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    names_, starts_ = np.array(names), np.array(starts)
    touching = (names_[:, None] == names_) & (np.abs(starts_[:, None] - starts_) <= 1.0)
    likeness = np.where(touching, -np.inf, unit @ unit.T)
    same = names_[:, None] == names_
    chance = (same & ~touching).sum(axis=1) / (~touching).sum(axis=1)
    usable = (same & ~touching).any(axis=1)
    hit = names_[likeness.argmax(axis=1)] == names_
    return {
        "windows": int(usable.sum()),
        "same recording": float(hit[usable].mean()),
        "chance": float(chance[usable].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("labelled", nargs="+", type=Path)
    parser.add_argument("--videos", type=Path, help="folder of recordings")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore", category=FutureWarning)
    model = EndoFM.from_pretrained(args.model)
    twins = [untrained(model, seed) for seed in SEEDS]
    result: dict[str, Any] = {"model": model.config.name, "weights_sha256": model.provenance.get("sha256", "")}
    for folder in args.labelled:
        features = embed(model, folder)
        runs = {
            "trained": [probes(features, folder, seed) for seed in SEEDS],
            "untrained": [probes(embed(twin, folder), folder, seed) for seed, twin in zip(SEEDS, twins, strict=True)],
        }
        print(f"\n{folder.name}: {len(features)} clips, splits by patient, mean and standard deviation over 5\n")
        print("| | trained | untrained |\n|---|---:|---:|")
        result[folder.name] = {}
        for name in runs["trained"][0]:
            cells = {}
            for which, scores in runs.items():
                values = [one[name] for one in scores]
                cells[which] = {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
            result[folder.name][name] = cells
            shown = " | ".join(f"{c['mean']:.3f} ± {c['sd']:.3f}" for c in (cells["trained"], cells["untrained"]))
            print(f"| {name} | {shown} |")
    if args.videos:
        nearest = {"trained": recordings(model, args.videos), "untrained": recordings(twins[0], args.videos)}
        result["recordings"] = nearest
        print(f"\nnearest window from the same recording: {json.dumps(nearest, indent=1)}")
    if args.out:
        with atomic_path(args.out) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
