"""Weights: from a name to checked tensors and their configuration. Files and dictionaries only, no modules."""
