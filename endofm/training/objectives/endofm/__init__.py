"""Endo-FM's objective: a student matches a moving-average teacher across views of a clip (DINO on video)."""
