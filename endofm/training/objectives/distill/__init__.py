"""Distillation of frozen image encoders into an encoder of clips, on pictures under a virtual camera."""
