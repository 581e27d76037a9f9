"""Frozen encoders compared on labelled sets: suites, probes, intervals, overlap with training data, reports."""
