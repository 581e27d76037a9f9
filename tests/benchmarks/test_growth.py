"""Curves of growth: exponents, table, figure, and one measured point in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import growth, growth_work
from benchmarks.growth import Curve, exponent, fitted


def test_the_exponent_of_a_power() -> None:
    assert exponent([(x, 3 * x**1.5) for x in (1, 2, 7, 100)]) == pytest.approx(1.5)
    assert exponent([(1, 5), (10, 5)]) == pytest.approx(0)
    assert exponent([(1, 0), (2, 3)]) is None
    # Constant costs of the small points are left out.
    points = [{"size": s, "seconds": max(1.0, s / 100)} for s in (1, 10, 1000, 10000)]
    assert fitted(points, "seconds") == pytest.approx(1)


def _double(size: float) -> growth_work.Cost:
    return growth_work.Cost(2 * size, 10)


def test_the_command_measures_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "CURVES", {"toy": Curve("toy", "size", (1, 2, 4), _double, "1")})
    monkeypatch.setattr(growth, "_apart", lambda measure, size: measure(size))
    out, picture = tmp_path / "growth.json", tmp_path / "growth.png"
    growth.main(["--json", str(out), "--plot", str(picture), "--rounds", "1"])
    assert json.loads(out.read_text())["toy"][2] == {"size": 4, "seconds": 8, "megabytes": 10}
    assert "| toy | size | 1: 2 (10), 2: 4 (10), 4: 8 (10) | 1.00 | 0.00 | 1 |" in capsys.readouterr().out
    assert Image.open(picture).size[0] > 300
    # What the file holds stays.
    growth.main(["--json", str(out), "--only", "toy", "--points", "1"])
    assert len(json.loads(out.read_text())["toy"]) == 1


def test_a_point_is_a_process_of_its_own() -> None:
    cost = growth._apart(growth_work.nearest_rows, 2000)
    assert cost.seconds > 0
    assert cost.megabytes >= 0


def test_more_work_costs_more() -> None:
    few, many = (growth_work.probe_rows(rows) for rows in (100, 50_000))
    assert many.seconds > few.seconds > 0
    assert growth_work.encode(side=64).seconds < growth_work.encode(side=256).seconds
