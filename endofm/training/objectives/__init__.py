"""Objectives of pre-training, one folder each, and the parts that they share."""
