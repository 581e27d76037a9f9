"""A minimal H.264 writer whose pictures are two fields in packets of their own, as AVCHD recorders write them.

No encoder in the PyAV wheels codes field pictures. Every macroblock here is I_PCM, raw samples, so that nothing but
headers has to be coded (ITU-T H.264, clauses 7.3.2.1.1, 7.3.2.2, 7.3.3 and 7.3.5).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from helpers.video_makers import HEIGHT, WIDTH, paint

_GOP = 10


class _Bits:
    def __init__(self) -> None:
        self.text = ""

    def u(self, count: int, value: int) -> _Bits:
        self.text += format(value, f"0{count}b")
        return self

    def ue(self, *values: int) -> _Bits:
        for value in values:
            self.text += "0" * ((value + 1).bit_length() - 1) + format(value + 1, "b")
        return self

    def align(self) -> _Bits:
        self.text += "0" * (-len(self.text) % 8)
        return self

    def data(self, data: bytes) -> _Bits:
        self.text += "".join(format(byte, "08b") for byte in data)
        return self

    def unit(self, header: int) -> bytes:
        """Return the NAL unit with start code, trailing bits and emulation prevention."""
        self.u(1, 1).align()
        payload = int(self.text, 2).to_bytes(len(self.text) // 8, "big")
        out, zeros = bytearray(), 0
        for byte in payload:
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([header]) + bytes(out)


def _parameter_sets() -> bytes:
    # Main profile, level 3.0; frame numbers of 4 bits; order of pictures type 2; one reference; fields allowed.
    sps = _Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 2, 1).u(1, 0).ue(WIDTH // 16 - 1, HEIGHT // 32 - 1)
    sps.u(1, 0).u(1, 0).u(1, 1).u(1, 0).u(1, 0)
    pps = _Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0)
    return sps.unit(0x67) + pps.unit(0x68)


def _field(luma: npt.NDArray[np.uint8], *, bottom: bool, frame_num: int, idr: bool) -> bytes:
    bits = _Bits().ue(0, 7, 0).u(4, frame_num).u(1, 1).u(1, int(bottom))
    if idr:
        bits.ue(0).u(2, 0)
    else:
        bits.u(1, 0)
    bits.ue(0)
    for top in range(0, luma.shape[0], 16):
        for left in range(0, luma.shape[1], 16):
            bits.ue(25).align().data(luma[top : top + 16, left : left + 16].tobytes() + bytes([128]) * 128)
    return bits.unit(0x65 if idr else 0x61)


def write_field_clip(path: Path, *, num_frames: int, one_stamp_per_frame: bool) -> Path:
    """Write painted frames as field pictures into a container.

    Args:
        path: File to write.
        num_frames: How many.
        one_stamp_per_frame: Hand both fields to the muxer together, instead of each with a stamp of its own.
    """
    fields: list[tuple[bytes, bytes]] = []
    for number in range(num_frames):
        luma = np.clip(paint(number).mean(axis=2), 20, 230).astype(np.uint8)
        idr, frame_num = number % _GOP == 0, number % _GOP
        start = _parameter_sets() if idr else b""
        top = start + _field(luma[0::2], bottom=False, frame_num=frame_num, idr=idr)
        fields.append((top, _field(luma[1::2], bottom=True, frame_num=frame_num, idr=False)))
    raw = path.with_suffix(".fields.h264")
    raw.write_bytes(b"".join(top + bottom for top, bottom in fields))
    with av.open(str(raw)) as template, av.open(str(path), "w") as container:
        stream: Any = container.add_stream_from_template(template.streams.video[0])
        for number, pair in enumerate(fields):
            for half, data in enumerate([pair[0] + pair[1]] if one_stamp_per_frame else pair):
                packet: Any = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, 50)
                packet.pts = packet.dts = 2 * number + half
                packet.duration = 2 if one_stamp_per_frame else 1
                packet.is_keyframe = number % _GOP == 0 and half == 0
                container.mux(packet)
    return path
