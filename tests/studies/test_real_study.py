"""The study on real images, run on made ones in the same folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endofm.errors import ConfigError, InputError
from endofm.training.config_files import load_config
from helpers.made_real_images import write_real_images
from helpers.paths import REPOSITORY
from studies.real_study.cell_run import task_items
from studies.real_study.command import CONFIG, PAGE, RESULTS, main
from studies.real_study.kept_results import CellResult, KeptResults, ScoredItems
from studies.real_study.labelled_items import Item, with_fraction
from studies.real_study.plan import Cell, StudyPlan
from studies.real_study.report import BEGIN, END, StudyReport, fill_page

RUN = {
    "epochs": 1000,
    "max_steps": 2,
    "batch_size": 4,
    "accelerator": "cpu",
    "num_workers": 0,
    "validate_every_epochs": 1000,
    "checkpoint_every_epochs": 1000,
    "loggers": ["csv"],
}
STAGE = {
    "objective": {
        "name": "endofm-fixed",
        "centering": "sinkhorn",
        "views": {
            "global_frames": [1, 2],
            "local_frames": [1],
            "global_size": 32,
            "local_size": 16,
            "global_margin": 1,
            "local_parts": 2,
        },
        "head": {"out_dim": 16, "hidden_dim": 16, "bottleneck_dim": 8, "norm": "batch"},
        "warmup_epochs": 0,
    },
    "steps": 2,
    "batch_size": 8,
    "cpu_seconds": 1,
}
MINI: dict[str, Any] = {
    "encoder": {"img_size": 32, "num_frames": 2, "embed_dim": 32, "depth": 1, "num_heads": 2},
    "camera": {"num_frames": 2, "size": 48},
    "arms": {
        "scratch": {"title": "scratch"},
        "trained": {"title": "trained", "stages": [STAGE]},
        "adapted": {"title": "adapted", "stages": [STAGE], "transfer": "st-adapter"},
        "cnn": {"title": "CNN", "image_network": True, "transfer": "linear"},
    },
    "primary": {"tasks": ["polyp-crop", "polyp-mask"], "fraction": 0.5, "arm": "trained", "control": "scratch"},
    "tasks": ["polyp-mask", "polyp-crop", "bleeding", "polyp-box"],
    "fractions": [0.5],
    "seeds": [0, 1],
    "resamples": 20,
    "finetune": {
        "classification": {"evaluation": {"resamples": 0, "pictures": False}, "run": RUN},
        "segmentation": {
            "model": {"network": "light", "light_width": 32, "num_frames": 1},
            "data": {"num_frames": 1},
            "evaluation": {"resamples": 0, "pictures": False, "num_frames": 1, "overlap": 0, "worst": 0},
            "run": RUN,
        },
        "detection": {
            "model": {"size": 32, "channels": 32, "tower_depth": 1, "num_supports": 0, "drop_path_rate": 0.0},
            "data": {"supports": 0, "clip_boxes": True},
            "evaluation": {"resamples": 0, "pictures": False},
            "run": RUN,
        },
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_real_images(tmp_path_factory.mktemp("real"))


def write_plan(folder: Path, **changes: Any) -> Path:
    path = folder / "mini.yaml"
    path.write_text(json.dumps({**MINI, **changes}))  # JSON is YAML
    return path


def command(folder: Path, root: Path) -> list[str]:
    files = ["--config", str(folder / "mini.yaml"), "--results", str(folder / "results.json")]
    return [*files, "run", "--root", str(root), "--work", str(folder / "work")]


def test_every_kind_of_cell_is_run_and_the_page_is_filled(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    arms = {name: MINI["arms"][name] for name in ("scratch", "adapted", "cnn")}
    primary = {**MINI["primary"], "arm": "adapted"}
    write_plan(tmp_path, arms=arms, primary=primary, tasks=["polyp-mask", "polyp-crop", "polyp-box"], seeds=[3])
    assert main(command(tmp_path, root)) == 0
    plan, results = load_config(StudyPlan, tmp_path / "mini.yaml"), KeptResults(tmp_path / "results.json")
    cells = results.of_plan(plan)
    assert [result.cell for result in cells] == plan.cells()
    assert len(cells) == 9
    # Half of 16 training images; a near-duplicate of the other part is left out of the eight that are scored.
    labels = {result.cell.task: result.labels for result in cells}
    assert labels["polyp-mask"] == labels["polyp-box"] == 8
    tasks = results.tasks()
    assert len(tasks["polyp-mask"].groups) == 7
    assert set(tasks["polyp-crop"].groups) <= set(tasks["polyp-mask"].groups)
    assert 2 * sum(tasks["polyp-crop"].positive) == len(tasks["polyp-crop"].positive)
    by_cell = {(result.cell.task, result.cell.arm): result for result in cells}
    # One pre-training serves all tasks of a seed, and its cost is told with each.
    assert by_cell["polyp-crop", "adapted"].pretraining_seconds > 0
    assert len({by_cell[task, "adapted"].pretraining_seconds for task in plan.tasks}) == 1
    assert by_cell["polyp-crop", "scratch"].pretraining_seconds == by_cell["polyp-crop", "cnn"].pretraining_seconds == 0
    assert by_cell["polyp-crop", "adapted"].values != by_cell["polyp-crop", "scratch"].values
    assert len(list((tmp_path / "work/encoders").glob("endofm-fixed-*"))) == 1
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main([*command(tmp_path, root)[:4], "report", "--page", str(page)]) == 0
    text = page.read_text()
    assert "**9 of 9 planned cells are finished, 6 of the 6 of the primary endpoint among them** (seeds 3)" in text
    assert "*adapted* minus *scratch*" in text


def test_a_killed_run_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    primary = {"tasks": ["polyp-crop"], "fraction": 0.5, "arm": "scratch", "control": "scratch"}
    arms = {"scratch": MINI["arms"]["scratch"]}
    write_plan(tmp_path, arms=arms, primary=primary, tasks=["polyp-crop"], seeds=[0, 1, 2, 3])
    results = tmp_path / "results.json"
    run = [sys.executable, "-m", "studies", "real", *command(tmp_path, root)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(run, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not results.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {result.cell: result for result in KeptResults(results).cells()}
    assert 1 <= len(before) < 4
    assert main([*command(tmp_path, root), "--seeds", "0", "1"]) == 0
    after = {result.cell: result for result in KeptResults(results).cells()}
    assert {cell.seed for cell in after} >= {0, 1}
    # Seconds differ from run to run: a cell that had been finished was not run again.
    assert all(after[cell] == before[cell] for cell in before)


def test_capsule_clips_are_cut_from_runs_of_one_part(root: Path, tmp_path: Path) -> None:
    items = task_items("bleeding", root, tmp_path)
    frames = [sorted((tmp_path / "copies" / item.file).iterdir()) for item in items]
    assert sum(map(len, frames)) == 40
    assert max(map(len, frames)) <= 4
    assert {item.label for item in items} == {"bleeding", "nonbleeding"}
    # The copies are kept: the images are not read again.
    assert task_items("bleeding", tmp_path / "gone", tmp_path) == items
    assert {item.part for item in task_items("instrument-mask", root, tmp_path)} == {"train", "val"}
    assert {item.part for item in task_items("larynx-mask", root, tmp_path)} == {"train", "val"}


def result_of(plan: StudyPlan, cell: Cell, values: tuple[float, ...]) -> CellResult:
    score = sum(values) / len(values)
    return CellResult(
        cell=cell,
        digest=plan.digest(cell),
        score=score,
        low=score - 0.1,
        high=score + 0.1,
        labels=5,
        seconds=2.0,
        pretraining_seconds=0.0,
        values=values,
    )


ITEMS = {"polyp-mask": ScoredItems(groups=tuple("abcd"))}
GAIN = (0.2, 0.3, 0.25, 0.25)


def add_masks(plan: StudyPlan, results: KeptResults, arm: str, seed: int, values: tuple[float, ...]) -> None:
    results.add(result_of(plan, Cell("polyp-mask", 0.5, arm, seed), values), ITEMS["polyp-mask"])


def test_table_and_figure_of_a_part_say_what_is_missing(tmp_path: Path) -> None:
    primary = {**MINI["primary"], "tasks": ["polyp-mask"]}
    plan = load_config(StudyPlan, write_plan(tmp_path, primary=primary))
    results = KeptResults(tmp_path / "results.json")
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    fill_page(page, plan, results)
    assert "**0 of 32 planned cells are finished, 0 of the 8 of the primary endpoint among them** (seeds none)" in (
        page.read_text()
    )
    add_masks(plan, results, "scratch", 0, (0.1, 0.2, 0.3, 0.4))
    assert "have no seed in common" in StudyReport(plan, results).verdict()
    add_masks(plan, results, "trained", 0, tuple(a + b for a, b in zip((0.1, 0.2, 0.3, 0.4), GAIN, strict=True)))
    add_masks(plan, results, "scratch", 1, (0.5, 0.5, 0.5, 0.5))
    report = StudyReport(plan, results)
    # The second seed has no pair yet, and counts in the mean of its own arm alone.
    assert "(1 of 2 seeds): *trained* minus *scratch*: +25.0 [" in report.verdict()
    assert report.verdict().endswith("By the rule above: it helps.")
    assert "| scratch | 37.5 (25.0 to 50.0) | 37.5 |" in report.primary_table()
    fill_page(page, plan, results)
    assert "**3 of 32 planned cells are finished, 3 of the 8" in page.read_text()
    assert (tmp_path / "images/real-study.png").stat().st_size > 5000
    with pytest.raises(InputError, match="there is no part between"):
        fill_page(tmp_path / "none.md", plan, results)


def test_results_of_other_settings_are_left_out_and_replaced(tmp_path: Path) -> None:
    plan = load_config(StudyPlan, write_plan(tmp_path))
    results = KeptResults(tmp_path / "results.json")
    for arm in ("trained", "scratch"):
        add_masks(plan, results, arm, 0, GAIN)
    stage = replace(plan.arms["trained"].stages[0], steps=3)
    longer = replace(plan, arms={**plan.arms, "trained": replace(plan.arms["trained"], stages=(stage,))})
    assert [result.cell.arm for result in results.of_plan(longer)] == ["scratch"]
    # Words and planned seconds change no result.
    named = replace(
        plan.arms["trained"], title="other", stages=(replace(plan.arms["trained"].stages[0], cpu_seconds=9),)
    )
    assert len(results.of_plan(replace(plan, arms={**plan.arms, "trained": named}))) == 2
    add_masks(longer, results, "trained", 0, GAIN)
    assert len(results.cells()) == len(results.of_plan(longer)) == 2
    # A line per cell, so that a change of the tracked file shows what was added.
    assert sum('"seed": 0' in line for line in results.path.read_text().splitlines()) == 2


def test_fractions_are_nested_and_keep_groups_and_classes() -> None:
    items = [
        Item(name=f"{group}-{n}", group=f"g{group}", part="train", file="", label="ab"[group % 2])
        for group in range(40)
        for n in range(1 + group % 3)
    ]
    items += [Item(name="v", group="v", part="val", file="", label="a")]
    kept = {fraction: {item.name for item in with_fraction(items, fraction, 7)} for fraction in (0.05, 0.2, 1.0)}
    assert kept[0.05] < kept[0.2] < kept[1.0] == {item.name for item in items}
    assert 0.2 <= (len(kept[0.2]) - 1) / (len(items) - 1) < 0.3
    for fraction in (0.05, 0.2):
        chosen = [item for item in items if item.name in kept[fraction]]
        groups = {item.group for item in chosen}
        assert all(item.name in kept[fraction] for item in items if item.group in groups)
        assert {item.label for item in chosen if item.part == "train"} == {"a", "b"}
    assert kept[0.2] != {item.name for item in with_fraction(items, 0.2, 8)}


def test_the_primary_endpoint_comes_first() -> None:
    plan = load_config(StudyPlan, CONFIG)
    cells, primary = plan.cells(), plan.primary
    first = len(plan.seeds) * len(primary.tasks) * len(plan.arms)
    assert {(cell.task, cell.fraction) for cell in cells[:first]} == {(task, 0.2) for task in primary.tasks}
    assert [cell.seed for cell in cells[:first]] == sorted(cell.seed for cell in cells[:first])
    assert len(set(cells)) == len(cells) == 7 * 7 * 3 * 3
    with pytest.raises(ConfigError, match="among those of the study"):
        replace(plan, fractions=(1.0,))
    with pytest.raises(ConfigError, match="is frozen"):
        replace(plan.arms["cnn"], transfer="full")


def test_the_page_of_the_documentation_shows_the_kept_results(tmp_path: Path) -> None:
    page = tmp_path / PAGE.name
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    fill_page(page, load_config(StudyPlan, CONFIG), KeptResults(RESULTS))
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_all_planned_stages_get_equal_time() -> None:
    plan = load_config(StudyPlan, CONFIG)
    totals = {name: sum(stage.cpu_seconds for stage in arm.stages) for name, arm in plan.arms.items()}
    assert {total for name, total in totals.items() if name not in ("scratch", "cnn")} == {120}
    assert totals["scratch"] == totals["cnn"] == 0
