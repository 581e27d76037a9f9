"""Clips with a mask for every frame: reading lists of them, and frames with their masks."""
