"""Fixtures of the tasks' tests."""

from __future__ import annotations

from helpers.hub_fixtures import hub

__all__ = ["hub"]
