"""DICOM objects as endoscopy archives export them, with a patient in the header whom no output may name."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HEVCMP51,
    MPEG2MPML,
    MPEG4HP41,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from helpers.video_makers import HEIGHT, WIDTH, paint

VIDEO_ENDOSCOPIC_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
BASIC_TEXT_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"

SYNTAXES = {"h264": MPEG4HP41, "hevc": HEVCMP51, "mpeg2": MPEG2MPML}
"""Transfer syntaxes of bitstreams."""

PATIENT = {
    "PatientName": "Quackenbush^Theodora",
    "PatientID": "PID-7719-X",
    "PatientBirthDate": "19510203",
    "StudyDate": "20240517",
    "StudyTime": "093142",
    "InstitutionName": "Saint Elsewhere",
    "ReferringPhysicianName": "Zywiec^Olaf",
    "AccessionNumber": "ACC-40417",
    "StudyDescription": "Koloskopie wegen Blutung",
}
"""Attributes that no output may hold."""


def write_stream(path: Path, data: bytes, *, syntax: str, count: int, pieces: int = 1, **header: Any) -> Path:
    """Write an object with a bitstream, in one or several fragments."""
    size = -(-len(data) // pieces // 2) * 2
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return _write(path, encapsulate(parts, has_bot=False), syntax, count=count, colours="YBR_PARTIAL_420", **header)


def write_pictures(path: Path, numbers: Sequence[int], *, kind: str = "jpeg", pieces: int = 1, **header: Any) -> Path:
    """Write an object with a painted picture for each number.

    Args:
        path: File to write.
        numbers: What to paint.
        kind: ``"jpeg"``, ``"rle"``, ``"raw"`` or ``"grey"`` (16 bits, of which 12 are used).
        pieces: Fragments of each picture; more than one need the offset table.
        header: Further attributes.
    """
    frames = [paint(number) for number in numbers]
    count = len(frames)
    if kind == "raw":
        data = b"".join(frame.tobytes() for frame in frames)
        return _write(path, data, ExplicitVRLittleEndian, count=count, colours="RGB", **header)
    if kind == "grey":
        data = b"".join((frame[..., 1].astype("<u2") << 4).tobytes() for frame in frames)
        return _write(path, data, ExplicitVRLittleEndian, count=count, colours="MONOCHROME2", stored=12, **header)
    if kind == "rle":
        from pydicom.pixels import get_encoder

        options = {"rows": HEIGHT, "columns": WIDTH, "samples_per_pixel": 3, "planar_configuration": 0}
        options |= {"bits_allocated": 8, "bits_stored": 8, "pixel_representation": 0, "number_of_frames": 1}
        encode = get_encoder(RLELossless).encode
        coded = [encode(frame.tobytes(), photometric_interpretation="RGB", **options) for frame in frames]
        return _write(path, encapsulate(coded), RLELossless, count=count, colours="RGB", **header)
    coded = [_jpeg(frame) for frame in frames]
    pixels = encapsulate(coded, fragments_per_frame=pieces, has_bot=pieces > 1)
    return _write(path, pixels, JPEGBaseline8Bit, count=count, colours="YBR_FULL_422", **header)


def write_report(path: Path) -> Path:
    """Write an object without pictures."""
    dataset = _dataset(BASIC_TEXT_REPORT)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def _jpeg(frame: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=95)
    return file.getvalue()


def _dataset(kind: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "ES"
    for name, value in PATIENT.items():
        setattr(dataset, name, value)
    return dataset


def _write(path: Path, pixels: bytes, syntax: str, *, count: int, colours: str, stored: int = 8, **header: Any) -> Path:
    dataset = _dataset(VIDEO_ENDOSCOPIC_IMAGE)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SamplesPerPixel = 1 if colours == "MONOCHROME2" else 3
    dataset.PhotometricInterpretation = colours
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = HEIGHT, WIDTH, count
    dataset.BitsAllocated = 8 if stored == 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = stored, stored - 1, 0
    for name, value in header.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OB" if stored == 8 else "OW"
    dataset["PixelData"].is_undefined_length = syntax != ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path
