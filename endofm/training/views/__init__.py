"""Views of a clip for self-supervised training: random frames, crops and colours."""
