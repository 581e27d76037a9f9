"""``open_video``: every kind of video by one function."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, Union, cast, get_args

import numpy as np
import numpy.typing as npt

from endofm.arguments import integer_argument, number_argument
from endofm.errors import InputError, VideoError
from endofm.pool import usable_processors
from endofm.video.frames import VideoSource

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

VideoInput = Union[
    str,
    "os.PathLike[str]",
    bytes,
    BinaryIO,
    npt.NDArray[np.uint8],
    "Tensor",
    "Image",
    Sequence[Union["Image", npt.NDArray[np.uint8], str, "os.PathLike[str]"]],
    VideoSource,
]
"""Everything that :func:`open_video` opens."""

Decoder = Literal["pyav", "torchcodec"]
"""Decoders of video files."""

_MOST_IDLE_CORES = 4
"""Threads of a decoder next to a model on a GPU; more gain little."""

_START_BYTES = 140
"""Beginning of a file by which its kind is known."""

# DICOM PS3.10 has 128 bytes and "DICM" in front; files without them begin with an element of group 2 or 8.
_DICOM_ELEMENTS = re.compile(rb"[\x02\x08]\x00.\x00(UL|UI|CS|OB|[\x04-\x40]\x00\x00\x00)", re.DOTALL)

_IMAGE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*")


class _Decoding(NamedTuple):
    """Decoder of a video file and its settings."""

    decoder: Decoder
    threads: int
    device: str


def open_video(
    source: VideoInput,
    *,
    fps: float | None = None,
    decoder_threads: int | None = None,
    decoder: Decoder = "pyav",
    device: str = "cpu",
) -> VideoSource:
    """Open anything that holds frames.

    Args:
        source: One of

            - the path of a video file, in any container and codec that FFmpeg reads;
            - the path of a folder of images (png, jpg, jpeg, bmp, tif, tiff, webp), taken in natural order
              (``img_2`` before ``img_10``), or of a single image, or of a multi-page TIFF;
            - a DICOM object with moving pictures or one (extra ``dicom``), timed by its header;
            - the address of a video file or image in object storage or on a web server, such as
              ``s3://bucket/procedure.mp4``, read by ranges (extra ``remote``);
            - a video file as ``bytes`` or as a binary file object (read from its beginning, not closed);
            - a uint8 array ``(time, height, width, 3)`` or ``(height, width, 3)``, or a uint8 tensor of these shapes
              or ``(time, 3, height, width)`` or ``(3, height, width)``; RGB;
            - a PIL image, or a list of PIL images, arrays ``(height, width, 3)`` or paths of images;
            - an open source, which is returned unchanged.
        fps: Nominal rate in frames per second of images and arrays, which have no times of their own; by default 30.
        decoder_threads: Threads of the decoder of a video file. By default one, next to a model that uses all cores;
            where ``device`` is no CPU and the model leaves the cores idle, up to four. They change no pixel.
        decoder: Decoder of a video file: ``"pyav"``, or ``"torchcodec"`` (extra ``torchcodec``), which can use a GPU.
            Pixels of the two differ slightly. Ignored for images and arrays.
        device: Device of the model that takes the frames, ``"cpu"`` or ``"cuda"``; torchcodec decodes on it.

    Returns:
        A source of frames with their times. Use it as a context manager, or close it.

    Raises:
        VideoError: If the source cannot be read, naming the file and what to do.
        InputError: If ``source`` is of another type or shape, or ``fps`` is given for a video file, which has times
            of its own, or ``decoder`` is unknown.
        MissingExtraError: If torchcodec is requested and cannot be loaded.

    Example:
        >>> import numpy as np
        >>> with open_video(np.zeros((50, 64, 96, 3), np.uint8), fps=25) as video:
        ...     [frame.pts_seconds for frame in video.sample([0.5, 1.0])]
        [0.48, 1.0]
    """
    if fps is not None:
        fps = number_argument(fps, "fps", low=1e-3, high=1e6, unit="frames per second")
    if decoder_threads is None:
        decoder_threads = 1 if device == "cpu" else min(usable_processors(), _MOST_IDLE_CORES)
    decoder_threads = integer_argument(decoder_threads, "decoder_threads", high=1024)
    if decoder not in get_args(Decoder):
        raise InputError(f"decoder must be one of {', '.join(get_args(Decoder))}, got {decoder!r}")
    how = _Decoding(decoder, decoder_threads, device)
    if isinstance(source, (str, os.PathLike)):
        return _open_path(source, fps, how)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open_data(bytes(source), "bytes", fps, how)
    if callable(getattr(source, "read", None)):
        return _open_object(source, fps, how)
    # By its methods and not by isinstance: VideoSource is a protocol, and programs may bring sources of their own.
    if all(hasattr(source, name) for name in ("sample", "frame_times", "metadata")):
        if fps is not None or decoder != "pyav":
            raise InputError(
                "fps and decoder cannot be changed for a source that is open already; give it when opening"
            )
        return cast(VideoSource, source)

    from endofm.video.sequence_source import array_source, item_source

    if isinstance(source, np.ndarray):
        return array_source(source, name="array", fps=fps)
    # A tensor or PIL image can only exist if its library has been imported already; neither is imported here.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        return array_source(_channels_last(source), name="tensor", fps=fps)
    image = sys.modules.get("PIL.Image")
    if image is not None and isinstance(source, image.Image):
        return item_source([source], name="image", fps=fps)
    if isinstance(source, (list, tuple)):
        from endofm.video.find import VIDEO_SUFFIXES

        paths = (Path(item) for item in source if isinstance(item, (str, os.PathLike)))
        if video := next((path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES), None):
            raise InputError(
                f"a list holds the images of one video, and {video} is a video itself; process one video per call, or "
                f"many with `endofm extract`, `classify`, `detect` or `segment`"
            )
        return item_source(source, name="list", fps=fps)
    raise InputError(
        f"cannot open a video from {type(source).__name__}; give a path, bytes, a binary file object, a uint8 array "
        f"or tensor, a PIL image or a list of images"
    )


def _open_path(source: str | os.PathLike[str], fps: float | None, how: _Decoding) -> VideoSource:
    text = os.fspath(source)
    # FFmpeg itself never opens a connection.
    if "://" in text:
        from endofm.address import is_address
        from endofm.video.object_file import open_remote

        if is_address(text):
            return _open_data(*open_remote(text), fps, how)
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            return _open_folder(path, fps)
        if not path.exists():
            raise VideoError(f"{path}: there is no such file or folder")
        if not path.is_file():
            raise VideoError(f"{path}: this is neither a regular file nor a folder")
        if path.stat().st_size == 0:
            raise VideoError(f"{path}: the file is empty (0 bytes); copy it again from where it was recorded")
        start = b""
        # Without permission to read, the reader that needs it says so.
        if os.access(path, os.R_OK):
            with path.open("rb") as file:
                start = file.read(_START_BYTES)
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: cannot be opened ({error})") from error

    if is_dicom(start):
        return _open_dicom(path, str(path), fps, how)

    from endofm.video.find import IMAGE_SUFFIXES
    from endofm.video.images import open_image
    from endofm.video.sequence_source import image_file_source

    if path.suffix.lower() in IMAGE_SUFFIXES:
        images = image_file_source(lambda: open_image(path), name=str(path), fps=fps)
        if images is not None:
            return images
    return _open_file(path, str(path), fps, how)


def _open_folder(folder: Path, fps: float | None) -> VideoSource:
    from endofm.video.find import IMAGE_SUFFIXES
    from endofm.video.images import natural_order
    from endofm.video.sequence_source import item_source

    paths = natural_order(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not paths:
        raise VideoError(f"{folder}: there are no images in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return item_source(paths, name=str(folder), fps=fps)


def _open_object(file: Any, fps: float | None, how: _Decoding) -> VideoSource:
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) else "file object"
    if isinstance(file, io.TextIOBase):
        raise InputError(f"{name}: this file object gives text; open the file in binary mode, 'rb'")
    if not (hasattr(file, "seek") and getattr(file, "seekable", lambda: True)()):
        # A container may store its index at its end, so a pipe or a download is copied to disk, where seeking works.
        spool = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the source that reads it)
        shutil.copyfileobj(file, spool)
        file = spool
    return _open_data(file, name, fps, how)


def _open_data(data: bytes | BinaryIO, name: str, fps: float | None, how: _Decoding) -> VideoSource:
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    file.seek(0)
    # The first bytes decide between image and video, since data have no suffix.
    start = file.read(_START_BYTES)
    if not start:
        raise VideoError(f"{name}: there is no data in it (0 bytes)")
    if is_dicom(start):
        return _open_dicom(data, name, fps, how)
    if start.startswith(_IMAGE_SIGNATURES) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP"):
        from endofm.video.images import open_image
        from endofm.video.sequence_source import image_file_source

        file.seek(0)
        content = file.read()
        # One JPEG right behind another is Motion JPEG, unless the first says that there are several pictures (MPO).
        is_video = b"\xff\xd9\xff\xd8\xff" in content and b"MPF\0" not in content[:65536]
        images = None
        if not is_video:
            images = image_file_source(lambda: open_image(io.BytesIO(content)), name=name, fps=fps)
        if images is not None:
            return images
    return _open_file(data, name, fps, how)


def is_dicom(start: bytes) -> bool:
    """Return whether a file that begins so is DICOM: FFmpeg finds video in some, and times it wrongly."""
    return start[128:132] == b"DICM" or _DICOM_ELEMENTS.match(start) is not None


def _open_dicom(source: Path | bytes | BinaryIO, name: str, fps: float | None, how: _Decoding) -> VideoSource:
    from endofm.video.container import MediaSource
    from endofm.video.dicom_source import open_dicom

    if how.decoder != "pyav":
        raise VideoError(f"{name}: {how.decoder} does not read DICOM; leave out decoder= (--decoder)")
    return open_dicom(MediaSource(source, name), fps=fps, decoder_threads=how.threads)


def _open_file(source: Path | bytes | BinaryIO, name: str, fps: float | None, how: _Decoding) -> VideoSource:
    if fps is not None:
        raise InputError(
            f"{name}: a video file has times of its own; fps is for images and arrays. To take fewer frames, set the "
            f"length and the number of frames of the clips"
        )
    from endofm.video.container import MediaSource
    from endofm.video.file_source import FileSource

    medium = MediaSource(source, name)
    if how.decoder == "torchcodec":
        from endofm.video.torchcodec_source import TorchCodecSource

        return TorchCodecSource(medium, decoder_threads=how.threads, device=how.device)
    return FileSource(medium, decoder_threads=how.threads)


def _channels_last(tensor: Tensor) -> npt.NDArray[Any]:
    if str(tensor.dtype) != "torch.uint8":
        raise InputError(
            f"tensor: expected uint8 RGB frames, got {tensor.dtype} {tuple(tensor.shape)}; values in [0, 1] become "
            f"uint8 by (frames * 255).round().to(torch.uint8)"
        )
    if tensor.is_nested or str(tensor.layout) != "torch.strided" or tensor.is_meta:
        kind = "nested" if tensor.is_nested else "meta" if tensor.is_meta else str(tensor.layout)
        raise InputError(
            f"tensor: frames must be an ordinary dense tensor, got a {kind} one; use .to_dense() or .cpu()"
        )
    array: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    if array.ndim in (3, 4) and array.shape[-1] != 3 and array.shape[-3] == 3:
        return np.moveaxis(array, -3, -1)
    return array
