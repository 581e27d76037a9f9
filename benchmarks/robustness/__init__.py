"""Robustness campaign: seeded attacks on everything that reads input from outside."""
