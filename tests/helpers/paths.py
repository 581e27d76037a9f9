"""Where the tests find the repository and its golden numbers, whatever folder a test is in."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
GOLDEN = TESTS / "golden"
