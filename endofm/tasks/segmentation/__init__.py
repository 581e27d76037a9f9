"""Segmentation: the published hybrid network, a light head on patch tokens, masks of videos."""
