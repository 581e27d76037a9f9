"""Renderer of synthetic endoscopy video with exact masks, boxes and labels.

Nothing else in the package imports it, except the command line (``endofm data synth``).
"""
