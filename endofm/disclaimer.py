"""The notice that every result carries: cards, reports, result files, overlays and the command line."""

DISCLAIMER = "Research software: no result is medical advice."
"""One sentence, short enough to be burned into a frame."""
