"""From the results of cells to a summary, a table, a picture and a page of the documentation."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from settings import StudyConfig

from endofm._version import __version__
from endofm.errors import InputError
from endofm.files import atomic_path
from endofm.training.config_schema import to_dict

BEGIN, END = "<!-- study: begin ({command}) -->", "<!-- study: end -->"
METRICS = ("dice_clip", "iou_clip", "dice_frame", "hd95_frame", "missed_frames", "published_dice")

PAPER = {"vcl": 69.1, "st-adapter": 64.3, "endofm": 73.9}
"""Dice on CVC-12k in percent, arXiv 2306.16741, main comparison: real frames, the published recipe, test clips of which
most are in the training list too. Not comparable with rendered video; shown for the order."""


def summarize(study: StudyConfig, results: Sequence[Mapping[str, Any]], *, command: str) -> dict[str, Any]:
    """Return everything the table and the picture show, as plain values."""
    rows = {}
    for arm in study.arms:
        cells = sorted((r for r in results if r["arm"] == arm), key=lambda r: r["seed"])
        if not cells:
            continue
        stills = [c["stills"]["dice_clip"] for c in cells if c["stills"]]
        rows[arm] = {
            "seeds": [c["seed"] for c in cells],
            "metrics": {name: _over_seeds([c["metrics"][name] for c in cells]) for name in METRICS},
            "stills_dice": _over_seeds(stills) if stills else None,
            "parameters_learning": cells[0]["parameters_learning"],
            "steps": cells[0]["steps"],
            "wall_seconds": float(np.mean([c["wall_seconds"] for c in cells])),
            "paper_dice": PAPER.get(arm),
        }
    return {
        "version": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "command": command,
        "config": json.loads(json.dumps(to_dict(study), default=str)),
        "arms": rows,
    }


def _over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    defined = [float(value) for value in values if value is not None]
    mean = float(np.mean(defined)) if defined else None
    spread = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {"mean": mean, "sd": spread, "values": defined}


def markdown(summary: Mapping[str, Any]) -> str:
    """Return the table of a summary."""
    heads = ["", "Dice (clip)", "IoU (clip)", "Dice (frame)", "HD95 (px)", "frames missed", "published Dice"]
    heads += ["learning", "s", "real stills, Dice", "paper, CVC-12k Dice"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for arm, row in summary["arms"].items():
        cells = [arm]
        for name in METRICS:
            cells.append(_pm(row["metrics"][name], 1 if name == "hd95_frame" else 100))
        cells += [f"{row['parameters_learning'] / 1e6:.2f} M", f"{row['wall_seconds']:.0f}"]
        cells.append(_pm(row["stills_dice"], 100) if row["stills_dice"] else "")
        cells.append(f"{row['paper_dice']:.1f}" if row["paper_dice"] else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _pm(values: Mapping[str, Any], scale: float) -> str:
    if values["mean"] is None:
        return "-"
    mean = f"{scale * values['mean']:.1f}"
    return mean if values["sd"] is None else f"{mean} ± {scale * values['sd']:.1f}"


def plot(summary: Mapping[str, Any], path: Path) -> None:
    """Draw the clip Dice of every arm: a point per seed, a line at the mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arms = list(summary["arms"])
    figure = Figure(figsize=(7, 0.45 * len(arms) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for place, arm in enumerate(arms):
        values = summary["arms"][arm]["metrics"]["dice_clip"]
        axis.plot(np.multiply(values["values"], 100), [place] * len(values["values"]), "o", color="C0", alpha=0.6)
        axis.plot([100 * values["mean"]] * 2, [place - 0.3, place + 0.3], color="C0", lw=2.5)
    axis.set_yticks(range(len(arms)), arms)
    axis.invert_yaxis()
    axis.set_xlabel("Dice per clip, rendered test patients (%)")
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def save(summary: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write JSON, table and plot; return their paths."""
    paths = [folder / f"{name}{suffix}" for suffix in (".json", ".md", ".png")]
    for path, text in zip(paths, (json.dumps(summary, indent=1) + "\n", markdown(summary)), strict=False):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    plot(summary, paths[2])
    return [*paths, folder / "sheets"]


def fill_page(page: Path, summary: Mapping[str, Any], *, command: str, sheets: Path) -> None:
    """Put table, settings, plot and the worst frames of the best arm between the marks of a page.

    Raises:
        InputError: If the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    start, stop = text.find(BEGIN.split("(")[0]), text.find(END)
    if start < 0 or stop < start:
        raise InputError(f"{page}: there is no part between '{BEGIN}' and '{END}' to fill")
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    plot(summary, images / "segmentation-study.png")
    best = max(summary["arms"], key=lambda arm: summary["arms"][arm]["metrics"]["dice_clip"]["mean"])
    sheet = sheets / "sheets" / f"{best}-{summary['arms'][best]['seeds'][0]}.png"
    picture = ""
    if sheet.is_file():
        shutil.copyfile(sheet, images / "segmentation-study-worst.png")
        picture = f"\nThe worst test frames of `{best}`:\n\n![Worst frames](images/segmentation-study-worst.png)\n"
    config = summary["config"]
    data = config["data"]
    facts = (
        f"Made by `{summary['command']}` with version {summary['version']}, torch {summary['torch']}, "
        f"{len(config['seeds'])} seeds; mean ± standard deviation over them, in percent (HD95 in pixels). "
        f"{data['clips']} clips with masks of {data['patients']} patients, {data['frames']} frames of {data['size']} "
        f"pixels, a fifth of the patients for test; {config['steps']} steps for every arm. Encoder: "
        f"{config['encoder']['depth']} blocks, {config['encoder']['embed_dim']} wide."
    )
    middle = f"{facts}\n\n{markdown(summary)}\n![Dice of every arm](images/segmentation-study.png)\n{picture}"
    text = f"{text[:start]}{BEGIN.format(command=command)}\n{middle}{text[stop:]}"
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
