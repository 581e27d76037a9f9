"""Writing rendered images with a notice in their metadata that they are synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from endofm.files import atomic_path
from endofm.synthetic.specs import NOTICE
from endofm.video.frames import UInt8Array


def save_image(path: Path, data: UInt8Array) -> None:
    """Save an image with the notice in its metadata, in the format that the suffix names (png, tif or jpg)."""
    if path.suffix == ".png":
        text = PngInfo()
        text.add_text("Comment", NOTICE)
        options: dict[str, Any] = {"pnginfo": text}
    elif path.suffix == ".tif":
        options = {"compression": "tiff_adobe_deflate", "description": NOTICE}
    else:
        options = {"quality": 95, "comment": NOTICE}
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(data)).save(temporary, **options)
