"""The training loop and its parts: devices, checkpoints, logs, health checks. Independent of any one objective."""
