"""From the results of cells to a summary, a table, a plot and a page of the documentation."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scoring import METRICS
from settings import PIXELS, SCRATCH, StudyConfig

from endofm._version import __version__
from endofm.errors import InputError
from endofm.files import atomic_path
from endofm.training.config_schema import to_dict

BEGIN, END = "<!-- study: begin ({command}) -->", "<!-- study: end -->"
SIGNS = {
    "teacher_information": "nats that the teacher's choice of prototype tells of the clip (Endo-FM; 0: collapse)",
    "contrast_vv": "contrast of two clips (VCL; the logarithm of the batch size is chance)",
}
"""Metrics of training that tell whether an objective was learnt at all, with their meaning."""
METHODS = {"knn": "k-NN", "linear": "linear probe"}


def summarize(study: StudyConfig, results: Sequence[Mapping[str, Any]], *, command: str) -> dict[str, Any]:
    """Return everything the table and the plot show, as plain values.

    Args:
        study: The study.
        results: What the finished cells hold.
        command: The command that made them.
    """
    rows = {}
    for arm in study.names():
        cells = sorted((r for r in results if r["arm"] == arm), key=lambda r: r["seed"])
        if not cells:
            continue
        scores = {
            method: {name: _over_seeds([c["scores"][method][name] for c in cells]) for name in METRICS}
            for method in METHODS
        }
        rows[arm] = {"seeds": [c["seed"] for c in cells], "scores": scores}
        rows[arm]["feature_spread"] = _over_seeds([c["feature_spread"] for c in cells])
        if "tflop" in cells[0]:
            for name in ("steps", "clips", "tflop", "cpu_seconds", "wall_seconds"):
                rows[arm][name] = float(np.mean([c[name] for c in cells]))
            rows[arm]["signs"] = {
                name: _over_seeds([c["last"][name] for c in cells]) for name in SIGNS if name in cells[0]["last"]
            }
    return {
        "version": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "command": command,
        "config": to_dict(study),
        "arms": rows,
        "differences": _differences(rows),
    }


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": spread, "values": [float(v) for v in values]}


def _differences(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return by how much each trained arm is better than the untrained network of the same seed."""
    found: dict[str, Any] = {}
    for arm, row in rows.items():
        if arm in (PIXELS, SCRATCH) or row["seeds"] != rows.get(SCRATCH, {}).get("seeds"):
            continue
        found[arm] = {
            method: _over_seeds(
                np.subtract(
                    row["scores"][method]["f1"]["values"], rows[SCRATCH]["scores"][method]["f1"]["values"]
                ).tolist()
            )
            for method in METHODS
        }
    return found


def markdown(summary: Mapping[str, Any]) -> str:
    """Return the table of a summary."""
    heads = ["", *(f"{title} {name}" for title in METHODS.values() for name in ("F1", "AUROC"))]
    heads += ["F1 over scratch (k-NN, linear)", "steps", "clips", "TFLOP", "CPU s"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for arm, row in summary["arms"].items():
        cells = [arm]
        cells += [_pm(row["scores"][method][name], 100) for method in METHODS for name in ("f1", "auroc")]
        over = summary["differences"].get(arm)
        cells.append(", ".join(_pm(over[method], 100, sign=True) for method in METHODS) if over else "")
        trained = "tflop" in row
        cells += [f"{row[name]:.0f}" if trained else "" for name in ("steps", "clips")]
        cells += [f"{row['tflop']:.1f}" if trained else "", f"{row['cpu_seconds']:.0f}" if trained else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def signs_table(summary: Mapping[str, Any]) -> str:
    """Return a table of what training itself says, to tell an objective that was not learnt from one of no use."""
    lines = ["| | spread of features | sign of learning at the end of training |", "|---|---:|---|"]
    for arm, row in summary["arms"].items():
        told = [f"{values['mean']:.2f} {SIGNS[name]}" for name, values in row.get("signs", {}).items()]
        lines.append(f"| {arm} | {_pm(row['feature_spread'], 1, digits=2)} | {'; '.join(told)} |")
    return "\n".join(lines) + "\n"


def _pm(values: Mapping[str, Any], scale: float, *, sign: bool = False, digits: int = 1) -> str:
    mean = f"{scale * values['mean']:{'+' if sign else ''}.{digits}f}"
    return mean if values["sd"] is None else f"{mean} ± {scale * values['sd']:.{digits}f}"


def plot(summary: Mapping[str, Any], path: Path) -> None:
    """Draw F1 of every arm: a point per seed, a line at the mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    arms = list(summary["arms"])
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 0.5 * len(arms) + 1.6), sharey=True, layout="constrained")
    for axis, (method, title) in zip(axes, METHODS.items(), strict=True):
        for place, arm in enumerate(arms):
            values = summary["arms"][arm]["scores"][method]["f1"]
            colour = "0.5" if arm in (PIXELS, SCRATCH) else "C1" if arm.startswith("vcl") else "C0"
            axis.plot(np.multiply(values["values"], 100), [place] * len(values["values"]), "o", color=colour, alpha=0.6)
            axis.plot([100 * values["mean"]] * 2, [place - 0.3, place + 0.3], color=colour, lw=2.5)
        axis.set_title(f"{title}, F1 of polyp in view (%)", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].invert_yaxis()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
    pyplot.close(figure)


def save(summary: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write JSON, table and plot; return their paths."""
    paths = [folder / f"{name}{suffix}" for suffix in (".json", ".md", ".png")]
    for path, text in zip(paths, (json.dumps(summary, indent=1) + "\n", markdown(summary)), strict=False):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    plot(summary, paths[2])
    return paths


def fill_page(page: Path, summary: Mapping[str, Any], *, command: str, picture: Path) -> None:
    """Put table, settings and plot of a summary between the marks of a page of the documentation.

    Raises:
        InputError: If the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    start, stop = text.find(BEGIN.split("(")[0]), text.find(END)
    if start < 0 or stop < start:
        raise InputError(f"{page}: there is no part between '{BEGIN}' and '{END}' to fill")
    plot(summary, page.parent / picture)
    config = summary["config"]
    data, how = config["data"], config["evaluation"]
    facts = (
        f"Made by `{summary['command']}` with version {summary['version']}, torch {summary['torch']}, "
        f"{len(config['seeds'])} seeds; mean ± standard deviation over them, in percent. "
        f"Pre-training: {data['pretrain_clips']} clips of {data['pretrain_patients']} patients, {data['frames']} "
        f"frames of {data['size']} pixels. Scores: {data['labelled_clips']} clips of {data['labelled_patients']} other "
        f"patients, {how['folds']}-fold cross-validation by patient, {how['repeats']} deals of folds, k = {how['k']}. "
        f"Encoder: {config['encoder']['depth']} blocks, {config['encoder']['embed_dim']} wide."
    )
    parts = [facts, markdown(summary), f"![F1 of every arm]({picture.as_posix()})", signs_table(summary)]
    middle = "\n".join(f"{part.rstrip()}\n" for part in parts)
    text = f"{text[:start]}{BEGIN.format(command=command)}\n{middle}{text[stop:]}"
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
