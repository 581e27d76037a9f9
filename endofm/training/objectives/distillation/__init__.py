"""Endo-FM's objective: a student matches an averaged teacher across views of a clip (DINO on video)."""
