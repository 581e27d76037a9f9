"""Readers of labelled sets: from a folder to the items of a probe set."""
