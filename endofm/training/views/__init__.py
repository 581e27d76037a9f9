"""Views of a clip for self-supervised training: which frames, which part of them, which colours."""
