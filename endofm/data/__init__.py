"""Data sets: preparing real ones, checking and reading them, and rendering synthetic ones."""
