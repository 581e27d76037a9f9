"""The command line: one module per command, each with ``SUMMARY``, ``configure`` and ``run``."""
