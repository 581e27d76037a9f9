"""Fixtures of the model classes' tests."""

from __future__ import annotations

from helpers.hub_fixtures import hub, model_folder

__all__ = ["hub", "model_folder"]
