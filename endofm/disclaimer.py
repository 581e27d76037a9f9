"""Notice on every result: model cards, reports, result files, overlays and the command line."""

DISCLAIMER = "Research software: no result is medical advice."
"""A single sentence, short enough to be drawn on a frame."""
