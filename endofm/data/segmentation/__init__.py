"""Clips with a mask for every frame: lists of them, and their frames and masks."""

from typing import Literal

MaskRule = Literal["bright", "white", "classes"]
"""Meaning of the values of a mask: ``bright``: class 1 above 127 (JPEG, video); ``white``: class 1 at 255 only, as
published; ``classes``: the index of the class."""
