"""``open_video``: every kind of source, and errors for everything else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from endofm.errors import InputError, VideoError
from endofm.video.frame_decoder import FrameDecoder
from endofm.video.open import open_video
from helpers.video_makers import NUM_FRAMES, paint, read_number, write_clip


def _numbers(source: Any, **options: Any) -> list[int]:
    with open_video(source, **options) as video:
        return [read_number(frame.data) for frame in video]


def test_path_string_bytes_and_file_object_give_the_same(clip: Callable[[str], Path]) -> None:
    path = clip("h264.mp4")
    expected = list(range(NUM_FRAMES))
    assert _numbers(path) == _numbers(str(path)) == _numbers(path.read_bytes()) == expected
    with path.open("rb") as file:
        file.read(100)  # The position of the object does not matter.
        with open_video(file) as video:
            assert video.metadata.name == str(path)
            sampled, whole = video.sample([0.4, 1.2, 2.8]), iter(video)  # Both read the one object in turn.
            assert [read_number(next(sampled).data), read_number(next(whole).data)] == [10, 0]
            assert len(video.frame_times()) == NUM_FRAMES
            assert [read_number(next(sampled).data), read_number(next(whole).data)] == [30, 1]
            assert [read_number(frame.data) for frame in sampled] == [70]
        assert not file.closed
        assert _numbers(io.BytesIO(path.read_bytes())) == expected


class _Failing(io.BytesIO):
    """A file whose second half cannot be read."""

    failures = 0

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > len(self.getbuffer()) // 2:
            self.failures += 1
            raise OSError("the wire is cut")
        return super().read(size)


def test_a_read_that_fails_is_not_tried_again(clip: Callable[[str], Path], capfd: pytest.CaptureFixture[str]) -> None:
    file = _Failing(clip("h264.mkv").read_bytes() + bytes(2**20))
    with pytest.raises(VideoError, match="reading failed"):
        _numbers(file)
    assert file.failures == 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_pipe_is_read_too(clip: Callable[[str], Path]) -> None:
    data = clip("h264.ts").read_bytes()
    read_end, write_end = os.pipe()

    def feed() -> None:
        with os.fdopen(write_end, "wb") as sink:
            sink.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read_end, "rb") as pipe:
        assert _numbers(pipe) == list(range(NUM_FRAMES))
    feeder.join()


def test_arrays_and_tensors() -> None:
    frames = np.stack([paint(number) for number in range(12)])
    tensor = torch.from_numpy(frames)
    for source in (frames, tensor, tensor.permute(0, 3, 1, 2), list(frames), np.asfortranarray(frames)):
        assert _numbers(source) == list(range(12))
    for single in (frames[5], tensor[5], tensor[5].permute(2, 0, 1)):
        assert _numbers(single) == [5]
    with open_video(frames, fps=10) as video:
        assert video.frame_times().tolist() == [number / 10 for number in range(12)]
        assert video.end_seconds() == pytest.approx(1.2)
        assert video.metadata.average_fps == 10
        assert (video.metadata.width, video.metadata.height, video.metadata.num_frames) == (128, 96, 12)
        sampled = list(video.sample([0.0, 0.05, 0.3, 0.3, 1.19, 1.2, 5.0]))
        assert [read_number(frame.data) for frame in sampled] == [0, 0, 3, 3, 11]
        assert all(frame.duration_seconds == pytest.approx(0.1) for frame in sampled)
        assert video.problems == ()
    with open_video(frames) as video:
        assert video.metadata.average_fps == 30


@pytest.mark.parametrize("fps", [7.3, 23.976, 25, 29.97, 30, 59.94])
def test_asking_for_the_time_of_a_frame_gives_that_frame(fps: float) -> None:
    frames = np.stack([paint(number, 16, 12) for number in range(500)])
    with open_video(frames, fps=fps) as video:
        steps = [frame.pts_seconds for frame in video.sample(number / fps for number in range(500))]
        assert steps == video.frame_times().tolist()
        step = 1 / fps
        assert [f.pts_seconds for f in video.sample(number * step for number in range(500))] == steps


def test_cores_that_a_model_leaves_idle_decode(clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to a model on a GPU the decoder has several threads, next to one on the CPU one."""
    monkeypatch.setattr("endofm.video.open.usable_processors", lambda: 3)
    made: list[int] = []
    frames: list[list[np.ndarray]] = []
    start = FrameDecoder.__init__

    def noting(self: FrameDecoder, *args: Any, threads: int, **options: Any) -> None:
        made.append(threads)
        start(self, *args, threads=threads, **options)

    monkeypatch.setattr(FrameDecoder, "__init__", noting)
    for device in ("cpu", "cuda:0"):
        with open_video(clip("h264.mp4"), device=device) as video:
            frames.append([frame.data for frame in video])
    assert set(made) == {1, 3}
    assert np.array_equal(frames[0], frames[1])


def test_an_open_source_is_returned_unchanged(clip: Callable[[str], Path]) -> None:
    with open_video(clip("h264.mp4")) as video:
        assert open_video(video) is video
        with pytest.raises(InputError, match="open already"):
            open_video(video, fps=3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), r"array: expected uint8 .* got float32 .*\* 255"),
        (np.zeros((4, 8, 8, 3), np.uint16), r"uint16 .*8 bits per channel"),
        (np.zeros((4, 8, 8), np.uint8), r"\(4, 8, 8\); grey frames become RGB by np\.repeat"),
        (np.zeros((4, 8, 8, 4), np.uint8), r"alpha channel"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"no pixels"),
        (torch.zeros(4, 3, 8, 8), r"tensor: expected uint8 .* got torch\.float32"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.bfloat16), r"got torch\.bfloat16"),
        ([], r"no frames"),
        ([np.zeros((8, 8, 3), np.uint8), 5], r"frame 1: expected a PIL image"),
        (17, r"cannot open a video from int"),
        ({"video": 1}, r"cannot open a video from dict"),
        (io.StringIO("text"), r"binary mode"),
    ],
)
def test_wrong_arguments_are_explained(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_video(source)


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": float("nan")}, {"fps": "25"}, {"decoder_threads": 0}])
def test_wrong_options_are_explained(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        open_video(np.zeros((2, 8, 8, 3), np.uint8), **options)


def test_a_video_file_has_times_of_its_own(clip: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"h264\.mp4: a video file has times of its own"):
        open_video(clip("h264.mp4"), fps=25)


def _write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000, layout="mono")
        for position in range(20):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts = 16000, position * 1024
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def test_files_that_are_no_video_are_explained(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    (tmp_path / "notes.txt").write_text("not a video\n" * 100)
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(50_000))
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n")
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile 'other.mp4'\n")
    _write_sound(tmp_path / "sound.m4a")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo.mp4")
    expected = {
        "missing.mp4": "no such file or folder",
        "empty.mp4": "empty",
        "text.mp4": "not a video",
        "notes.txt": "not a video",
        "noise.avi": "not a video",
        "playlist.mp4": "not a video",
        "list.ffconcat": "not a video",
        "sound.m4a": "sound but no video",
        "folder": "no images in this folder",
        "fifo.mp4": "neither a regular file nor a folder",
    }
    for name, message in expected.items():
        with pytest.raises(VideoError, match=message) as caught:
            open_video(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(VideoError, match="download the file"):
        open_video("ftp://example.org/procedure.mp4")
    with pytest.raises(VideoError, match="0 bytes"):
        open_video(b"")
    with pytest.raises(VideoError, match="not a video"):
        open_video(b"some text that is no video")


def _write_rich(path: Path) -> None:
    """Write a video between other streams: sound, a data stream, and a cover picture that is larger than it."""
    cover = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (300, 200), (9, 99, 9)).save(cover, "PNG")
    with av.open(str(path), "w") as container:
        picture: Any = None
        if path.suffix == ".mkv":
            container.add_attachment("cover.png", "image/png", cover.getvalue())
        else:
            picture = container.add_stream("png", rate=1)
            picture.width, picture.height, picture.pix_fmt = 300, 200, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        sound: Any = container.add_stream("aac", rate=16000, layout="mono")
        stream: Any = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        if picture is not None:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((200, 300, 3), 99, np.uint8), "rgb24")))
        for number in range(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(paint(number), format="rgb24")))
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 640), np.float32), "fltp", "mono")
            wave.sample_rate, wave.pts = 16000, number * 640
            container.mux(sound.encode(wave))
        for other in (stream, sound):
            container.mux(other.encode(None))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_video_is_found_between_other_streams(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rich{suffix}"
    _write_rich(path)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2, "the clip has no cover picture to test with"
        assert container.streams.audio
    with open_video(path) as video:
        assert [read_number(frame.data) for frame in video] == list(range(50))
        assert [read_number(frame.data) for frame in video.sample([0.2, 1.8])] == [5, 45]
        assert len(video.frame_times()) == 50
        assert video.problems == ()


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        picture: Any = container.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 300, 200, "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic
        sound: Any = container.add_stream("aac", rate=16000, layout="mono")
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((200, 300, 3), 99, np.uint8), "rgb24")))
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        wave.sample_rate, wave.pts = 16000, 0
        container.mux(sound.encode(wave))
        container.mux(sound.encode(None))
    with pytest.raises(VideoError, match=r"song\.m4a: the file has sound but no video"):
        open_video(path)


def test_sampling_resumes_where_the_last_one_ended(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from endofm.video.container import MediaSource

    opened: list[str] = []
    opening = MediaSource.open
    monkeypatch.setattr(MediaSource, "open", lambda self: (opened.append(self.name), opening(self))[1])
    with open_video(clip("h264.mp4")) as video:
        for start in (0.0, 0.4, 2.0, 1.0):
            assert len(list(video.sample([start, start + 0.1]))) == 2
    assert len(opened) == 1


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "one.mp4", numbers=[9])) as video:
        assert [read_number(frame.data) for frame in video.sample([0.0, 0.03])] == [9, 9]
        assert video.end_seconds() == pytest.approx(0.04)


def test_a_closed_video_says_so(clip: Callable[[str], Path]) -> None:
    video = open_video(clip("h264.mp4"))
    video.close()
    with pytest.raises(VideoError, match="closed"):
        next(iter(video))
    video.close()


def test_a_file_that_vanishes_says_so_each_time(clip: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "gone.ts"
    path.write_bytes(clip("h264.ts").read_bytes())
    with open_video(path) as video:
        assert len(list(video.sample([0.0, 3.0]))) == 2
        path.unlink()
        for _ in range(2):
            with pytest.raises(VideoError, match=r"gone\.ts: there is no such file any more"):
                list(video.sample([0.0]))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files by /proc")
def test_files_are_closed(clip: Callable[[str], Path]) -> None:
    path = clip("h264.mp4")

    def handles() -> int:
        opened = (entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
        return sum(str(entry.readlink()) == str(path) for entry in opened)

    for _ in range(3):
        with open_video(path) as video:
            first = video.sample([0.1, 0.2, 0.3])
            next(first)
            next(iter(video))
            video.frame_times()
            assert handles() >= 1
        del first
        assert handles() == 0


def test_every_thread_may_have_its_iterator(clip: Callable[[str], Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with open_video(clip("h264.mp4")) as video, ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(lambda: [read_number(frame.data) for frame in video]) for _ in range(8)]
        jobs += [pool.submit(lambda: [read_number(f.data) for f in video.sample([0.4, 2.0])]) for _ in range(8)]
        results = [job.result(timeout=60) for job in jobs]
    assert results == [list(range(NUM_FRAMES))] * 8 + [[10, 50]] * 8


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    """Frames are handed out one by one: the pixels of two at a time, however many there are."""
    import tracemalloc

    path = write_clip(tmp_path / "long.mp4", numbers=[5] * 150, size=(320, 240), options={"preset": "ultrafast"})
    with open_video(path) as video:
        stream = iter(video)
        next(stream)
        tracemalloc.start()
        for position, _ in enumerate(stream):
            if position == 20:
                early = tracemalloc.get_traced_memory()[0]
        late = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert late - early < 320 * 240 * 3


def test_ffmpeg_stays_silent_on_damage(clip: Callable[[str], Path], tmp_path: Path) -> None:
    data = bytearray(clip("h264.ts").read_bytes())
    for position in range(len(data) // 5, len(data), 400):
        data[position] ^= 0xFF
    path = tmp_path / "broken.ts"
    path.write_bytes(data)
    code = (
        f"from endofm.video.open import open_video\nwith open_video({str(path)!r}) as v:\n"
        f"    n = sum(1 for _ in v); v.frame_times(); assert v.problems; print(n)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    assert int(done.stdout) > 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda frames: frames.to("meta"), "got a meta one"),
        (lambda frames: frames.to_sparse(), "got a torch.sparse_coo one"),
        (lambda frames: torch.nested.nested_tensor(list(frames)), "got a nested one"),
        (lambda frames: frames[0, 0, 0, 0], r"got uint8 \(\)"),
        (lambda frames: np.array(1, np.uint8), r"got uint8 \(\)"),
        (lambda frames: np.zeros((5, 3, 40, 48), np.uint8), "channels are the last axis"),
        (lambda frames: np.zeros((1, 5, 40, 48, 3), np.uint8), "the frames of one video are one array"),
    ],
)
def test_frames_of_another_form_are_refused(make: Callable[[torch.Tensor], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_video(make(torch.zeros(5, 40, 48, 3, dtype=torch.uint8)))
