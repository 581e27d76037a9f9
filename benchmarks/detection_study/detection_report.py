"""From the results of cells to a summary, a table and a plot."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detection_settings import StudyConfig

from endofm._version import __version__
from endofm.files import atomic_path
from endofm.training.config_schema import to_dict

METRICS = {"ap50": "AP50", "ap50_95": "AP50:95", "presence_f1": "presence F1", "lesion_sensitivity": "lesions found"}

PUBLISHED = (
    ("Endo-FM, paper", 84.1, "arXiv 2306.16741: F1 (%) on KUMC, which is frame-level presence F1 at score 0.5"),
    ("Endo-FM, released weights", 84.0, "README of med-air/Endo-FM, likewise, on the val subset"),
)
"""Real data, another measure than AP, and no deviation stated: beside the table, never in one column with it."""


def summarize(study: StudyConfig, results: Sequence[Mapping[str, Any]], *, command: str) -> dict[str, Any]:
    """Return everything the table and the plot show, as plain values.

    Args:
        study: The study.
        results: What the finished cells hold.
        command: The command that made them.
    """
    rows = {}
    for arm in study.arms:
        cells = sorted((r for r in results if r["arm"] == arm), key=lambda r: r["seed"])
        if cells:
            rows[arm] = {
                "seeds": [c["seed"] for c in cells],
                "scores": {
                    way: {name: _over_seeds([c["scores"][way][name] for c in cells]) for name in METRICS}
                    for way in ("refined", "unrefined")
                },
                "gain": {
                    name: _over_seeds(
                        [_minus(c["scores"]["refined"][name], c["scores"]["unrefined"][name]) for c in cells]
                    )
                    for name in METRICS
                },
                "steps": cells[0]["steps"],
                "cpu_seconds": float(np.mean([c["cpu_seconds"] for c in cells])),
            }
    return {
        "version": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "command": command,
        "config": to_dict(study),
        "arms": rows,
        "published": [{"model": m, "presence_f1": v, "source": s} for m, v, s in PUBLISHED],
    }


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    defined = [float(v) for v in values if v is not None]
    mean = float(np.mean(defined)) if defined else None
    spread = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {"mean": mean, "sd": spread, "values": defined}


def markdown(summary: Mapping[str, Any]) -> str:
    """Return the table of a summary, and the published numbers below it."""
    heads = ["", *METRICS.values(), "AP50 without refinement", "gain of it", "steps", "CPU s"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for arm, row in summary["arms"].items():
        cells = [arm, *(_pm(row["scores"]["refined"][name]) for name in METRICS)]
        cells += [_pm(row["scores"]["unrefined"]["ap50"]), _pm(row["gain"]["ap50"], sign=True)]
        lines.append("| " + " | ".join([*cells, str(row["steps"]), f"{row['cpu_seconds']:.0f}"]) + " |")
    lines += ["", "Percent on rendered test videos; mean and deviation over seeds. On real data, by others:", ""]
    lines += [f"- {row['model']}: {row['presence_f1']} ({row['source']})" for row in summary["published"]]
    return "\n".join(lines) + "\n"


def _pm(values: Mapping[str, Any], *, sign: bool = False) -> str:
    if values["mean"] is None:
        return "-"
    mean = f"{100 * values['mean']:{'+' if sign else ''}.1f}"
    return mean if values["sd"] is None else f"{mean} ± {100 * values['sd']:.1f}"


def plot(summary: Mapping[str, Any], path: Path) -> None:
    """Draw AP50 and presence F1 of every arm, with and without refinement: a point per seed, a line at the mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arms = list(summary["arms"])
    figure = Figure(figsize=(9, 0.6 * len(arms) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(axes, ("ap50", "presence_f1"), strict=True):
        for place, arm in enumerate(arms):
            for shift, way, colour in ((-0.15, "refined", "C0"), (0.15, "unrefined", "0.6")):
                values = summary["arms"][arm]["scores"][way][name]
                axis.plot(
                    [100 * v for v in values["values"]],
                    [place + shift] * len(values["values"]),
                    "o",
                    color=colour,
                    alpha=0.6,
                    label=way if place == 0 else None,
                )
                if values["mean"] is not None:
                    axis.plot(
                        [100 * values["mean"]] * 2, [place + shift - 0.12, place + shift + 0.12], color=colour, lw=2.5
                    )
        axis.set_title(f"{METRICS[name]} (%)", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def save(summary: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write JSON, table and plot; return their paths."""
    paths = [folder / f"{name}{suffix}" for suffix in (".json", ".md", ".png")]
    for path, text in zip(paths, (json.dumps(summary, indent=1) + "\n", markdown(summary)), strict=False):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    plot(summary, paths[2])
    return paths
