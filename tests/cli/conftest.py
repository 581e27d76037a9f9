"""Fixtures of the commands' tests."""

from __future__ import annotations

from helpers.hub_fixtures import checkpoint, endofm, hub, model_folder, registered

__all__ = ["checkpoint", "endofm", "hub", "model_folder", "registered"]
