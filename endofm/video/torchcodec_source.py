"""A video file whose frames torchcodec decodes: on a GPU in hardware (NVDEC), or on the CPU."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from endofm.errors import MissingExtraError, VideoError, require_extra
from endofm.video.container import MediaSource
from endofm.video.file_source import FileSource
from endofm.video.frames import TIME_TOLERANCE, Frame, VideoMetadata, ascending
from endofm.video.rgb_conversion import guesses_hd_matrix, orientation

_PYAV = "leave out decoder='torchcodec' (--decoder) to decode it with PyAV"


class TorchCodecSource(FileSource):
    """A video file that PyAV describes and torchcodec decodes.

    Metadata and times are those of :class:`~endofm.video.file_source.FileSource`, from the packets; frames are
    requested by number, and each must have the time that the packets give it. Files in which torchcodec finds other
    frames or times are refused, as are files that it cannot decode (damaged ones) and containers in which it does not
    find frames by number.

    Args:
        medium: The file.
        decoder_threads: Threads of the decoder on the CPU, >= 1.
        device: Device that decodes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``. Frames are returned in main memory either way.

    Raises:
        MissingExtraError: If torchcodec, or the FFmpeg that it needs, is not installed.
        VideoError: If the file cannot be read, or torchcodec finds other frames in it than its packets announce.
    """

    def __init__(self, medium: MediaSource, *, decoder_threads: int = 1, device: str = "cpu") -> None:
        require_torchcodec()
        super().__init__(medium, decoder_threads=decoder_threads)
        self._device, self._turn = device, threading.Lock()
        with self._borrow_reader() as reader:
            assert reader.current is not None
            picture, stream = reader.current.picture.frame, reader.decoder.stream.index
            turned, guessed = orientation(picture), guesses_hd_matrix(picture)
        # Swscale's default and not that of players: see matrix_of.
        if guessed:
            self._damage.note(
                "matrix",
                "the video does not say by which matrix its colours are coded; torchcodec takes BT.601, and not BT.709 "
                "as is usual for HD and as the decoder pyav takes, so colours are a little off",
            )
        try:
            self._refuse_unsuitable(turned.mirrored)
            self._decoder = self._open_decoder(stream)
            # The two must agree on the list of frames, or every index would be wrong.
            count = self._decoder.metadata.num_frames
            if count != len(self.frame_times()):
                raise VideoError(
                    f"{medium.name}: torchcodec finds {count} frames in this video, but its packets hold "
                    f"{len(self.frame_times())}; {_PYAV}"
                )
            self._first = self._decode(0).pts_seconds
        except BaseException:
            self.close()
            raise

    @property
    def metadata(self) -> VideoMetadata:
        """Metadata from the header and the first frame."""
        return replace(super().metadata, decoder=f"torchcodec on {self._device}")

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        """Yield for each requested time the frame on screen then; see :class:`~endofm.video.frames.VideoSource`.

        Equal times yield the same object.
        """
        times, end = self.frame_times(), self.end_seconds()
        last, frame = -1, None
        for time in ascending(seconds):
            if time + TIME_TOLERANCE >= end:
                return
            number = max(int(np.searchsorted(times, time + TIME_TOLERANCE, side="right")) - 1, 0)
            if frame is None or number != last:
                last, frame = number, self._frame(number)
            yield frame

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame in order of presentation."""
        for number in range(len(self.frame_times())):
            yield self._frame(number)

    def _refuse_unsuitable(self, mirrored: bool) -> None:
        """Refuse files that torchcodec is known to decode wrongly."""
        name = self.medium.name
        if mirrored:
            raise VideoError(f"{name}: torchcodec does not mirror pictures, as this file requires; {_PYAV}")
        if self._clock.source != "pts" or self._clock.may_jump:
            raise VideoError(
                f"{name}: torchcodec does not find frames by number in this container "
                f"({self.metadata.container}), which has no index of their times; {_PYAV}"
            )

    def _frame(self, number: int) -> Frame:
        times = self.frame_times()
        start = float(times[number])
        end = float(times[number + 1]) if number + 1 < len(times) else self.end_seconds()
        decoded = self._decode(number)
        # Half a tick: the two clocks may round differently, but never by a frame.
        if abs(decoded.pts_seconds - self._first - start) > float(self.tick) / 2 + TIME_TOLERANCE:
            raise VideoError(
                f"{self.medium.name}: frame {number} appears at {start:.6f} s, but torchcodec gives one of "
                f"{decoded.pts_seconds - self._first:.6f} s; {_PYAV}"
            )
        return Frame(decoded.data.cpu().numpy(), start, end - start)

    def _open_decoder(self, stream: int) -> Any:
        try:
            decoders: Any = importlib.import_module("torchcodec.decoders")
            return decoders.VideoDecoder(
                self.medium.raw(),
                stream_index=stream,
                dimension_order="NHWC",
                num_ffmpeg_threads=self._threads,
                device=self._device,
            )
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            if "libtorchcodec" in str(error):
                raise _not_loadable() from error
            self._give_up(error)

    def _decode(self, number: int) -> Any:
        # One decoder serves all iterators, since it has random access.
        with self._turn:
            if self._closed:
                raise VideoError(f"{self.medium.name}: this video was closed; open it again")
            try:
                return self._decoder.get_frame_at(number)
            except (RuntimeError, ValueError, IndexError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> NoReturn:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VideoError(
            f"{self.medium.name}: torchcodec cannot decode this video on {self._device} ({reason}); {_PYAV}"
        ) from error


def require_torchcodec() -> None:
    """Raise unless torchcodec can be used here.

    Raises:
        MissingExtraError: If it, or the FFmpeg that it needs, is not installed.
    """
    try:
        require_extra("torchcodec", "torchcodec", "Decoding by torchcodec")
    except (RuntimeError, OSError) as error:
        raise _not_loadable() from error


def _not_loadable() -> MissingExtraError:
    return MissingExtraError(
        "torchcodec is installed, but cannot be loaded. It needs the shared libraries of FFmpeg (`apt install ffmpeg`, "
        "`conda install ffmpeg`) and must be the release for this PyTorch (its README has a table); or "
        f"{_PYAV}"
    )
