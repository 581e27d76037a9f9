"""Weights: from a name to verified files, tensors and their configuration. No network is defined or described here."""
