"""``endofm models``."""

from __future__ import annotations

import json
from collections.abc import Callable

from endofm.hub.registry import get_record, list_models

Command = Callable[..., str]


def test_models_lists_every_record(endofm: Command) -> None:
    head, *rows = endofm("models").splitlines()
    assert head.split()[:3] == ["Name", "Input", "Width"]
    assert [row.split()[0] for row in rows] == list_models()
    assert all("mean nothing" in row for row in rows if "-random" in row)
    described = json.loads(endofm("models", "--json"))
    assert [record["name"] for record in described] == list_models()
    assert described[0]["mirrors"][0]["sha256"] == get_record("endofm-base-8x224").mirrors[0].sha256
    assert described[0]["num_parameters"] == 121_258_752
