"""Mask networks: the faithful hybrid of the published segmentation model, and a light head on patch tokens."""
