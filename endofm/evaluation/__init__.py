"""Metrics with confidence intervals, reports, and classifiers on frozen features."""
