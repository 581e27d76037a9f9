"""Formats of feature files that need more than the core: each module has ``write`` and ``read``."""
