"""From a decoded picture to upright RGB."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from endofm.video.frames import UInt8Array

_HD_HEIGHT = 720

# AVColorSpace (ITU-T H.273 matrix coefficients) to the names that swscale has.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


class RgbConverter:
    """Converts decoded pictures to RGB arrays of one size; keeps swscale's tables between pictures.

    Args:
        width: Width of the arrays before rotation, in pixels.
        height: Likewise.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._reformatter = VideoReformatter()

    def __call__(self, picture: av.VideoFrame) -> UInt8Array:
        """Return uint8 ``(height, width, 3)``, full range."""
        matrix = _MATRICES.get(int(picture.colorspace))
        if matrix is None:
            matrix = Colorspace.ITU709 if picture.height >= _HD_HEIGHT else Colorspace.ITU601
        converted = self._reformatter.reformat(
            picture,
            width=self.width,
            height=self.height,
            format="rgb24",
            src_colorspace=matrix,
            src_color_range=ColorRange.JPEG if picture.format.name.startswith("yuvj") else picture.color_range,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BILINEAR,
            threads=1,
        )
        return np.ascontiguousarray(converted.to_ndarray())
