"""The training loop and what belongs to it: devices, checkpoints, logs, watches. Knows nothing of any one objective."""
