"""Rendered endoscopy: every picture from here is synthetic."""
