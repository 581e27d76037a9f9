"""Anchor-free detection with refinement over frames: pyramid, head, alignment, targets, losses, decoding."""
