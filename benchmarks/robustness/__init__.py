"""Robustness campaign: seeded attacks on everything that reads input from outside."""

import sys
from pathlib import Path

# The loopback hub and small models of the tests serve the campaign as well.
sys.path.append(str(Path(__file__).parents[2] / "tests"))
