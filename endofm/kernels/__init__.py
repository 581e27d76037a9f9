"""Layers multiplied fast on a given processor: backends, compiled kernels, precision, CUDA graphs."""
