"""Data sets: preparation, checks, reading, shards and splits."""
