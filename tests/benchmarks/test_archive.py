"""The sizing of an archive runs, at a small size, and its table adds up."""

from __future__ import annotations

import re

from benchmarks.archive import FORMATS, LEVELS, measure, table


def test_a_small_archive_is_sized() -> None:
    rates = measure("endofm-nano-4x96", 50, seconds=10, clips=1)
    assert rates.reading["576p, rendered"] > 0
    assert rates.encoding["exact"] > 0
    assert rates.bytes.keys() == {(level, kind) for level in LEVELS for kind in FORMATS}
    # An hour of clips of 5 s, times the width of 192 and four bytes, and a little more.
    assert 1 < rates.bytes["clip", "safetensors"] / (720 * 192 * 4) < 1.2
    lines = "\n".join(table(rates, 30, [100.0]))
    assert "50 recordings of 30 min: 25 hours of video, 18,000 clips of 5 s" in lines
    assert re.search(r"encode on a GPU \| 100 clips/s \| 0 GPU hours \| given", lines)
    assert "manifest of 50 videos" in lines
