"""Demo video: a short rendered procedure for examples and first steps."""

from __future__ import annotations

from pathlib import Path


def demo_video() -> Path:
    """Return the path of a rendered procedure that is part of the package.

    20 s of 256 x 208 pixels at 10 frames per second, H.264: the lumen, a polyp, a snare, bleeding, rinsing, and the
    lumen again. It shows no patient; ``python -m endofm.synthetic.demo`` rendered it.

    Example:
        >>> demo_video().name
        'procedure.mp4'
    """
    return Path(__file__).with_name("procedure.mp4")
