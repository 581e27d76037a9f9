"""Anchor-free detection, refined over frames: network, targets, losses, decoding, stream, results."""
