"""Folders of frames, single images and lists of images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.errors import VideoError
from endofm.video.images import natural_order
from endofm.video.open import open_video
from helpers.video_makers import paint, read_number


def _save(path: Path, number: int, *, size: tuple[int, int] = (128, 96)) -> Path:
    Image.fromarray(paint(number, *size)).save(path)
    return path


def test_frames_of_a_folder_come_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10, 11, 100):
        _save(tmp_path / f"img_{number}.png", number)
    (tmp_path / "notes.txt").write_text("no frame")
    _save(tmp_path / ".hidden.png", 77)
    (tmp_path / "sub.png").mkdir()
    with open_video(tmp_path, fps=4) as video:
        assert [read_number(frame.data) for frame in video] == [1, 2, 9, 10, 11, 100]
        assert video.frame_times().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
        assert [read_number(frame.data) for frame in video.sample([0.6, 1.4])] == [9, 100]
        assert video.metadata.name == str(tmp_path)
        assert (video.metadata.codec, video.metadata.width, video.metadata.height) == ("image", 128, 96)


def test_natural_order_of_several_numbers() -> None:
    names = ["a2_b10.png", "a10_b1.png", "a2_b9.png", "A1.png", "b.png", "10.png", "9.png"]
    ordered = [path.name for path in natural_order(Path(name) for name in names)]
    assert ordered == ["9.png", "10.png", "A1.png", "a2_b9.png", "a2_b10.png", "a10_b1.png", "b.png"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "JPG"])
def test_every_image_format(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        _save(folder / f"{number}.{suffix}", number + 40)
    with open_video(folder) as video:
        assert [read_number(frame.data) for frame in video] == [40, 41, 42]
    with open_video(folder / f"1.{suffix}") as video:
        assert [read_number(frame.data) for frame in video] == [41]
    with open_video((folder / f"1.{suffix}").read_bytes()) as video:
        assert [read_number(frame.data) for frame in video] == [41]


def test_lists_of_images_paths_and_arrays(tmp_path: Path) -> None:
    items = [Image.fromarray(paint(1)), _save(tmp_path / "b.png", 2), paint(3), str(_save(tmp_path / "a.png", 4))]
    with open_video(items) as video:
        assert [read_number(frame.data) for frame in video] == [1, 2, 3, 4]
    with open_video(Image.fromarray(paint(8))) as video:
        assert [read_number(frame.data) for frame in video] == [8]


def test_mixed_sizes_name_the_file(tmp_path: Path) -> None:
    _save(tmp_path / "f1.png", 1)
    _save(tmp_path / "f2.png", 2)
    _save(tmp_path / "f3.png", 3, size=(64, 48))
    with pytest.raises(VideoError, match=r"f3\.png is 64 x 48 pixels, but .*f1\.png is 128 x 96"):
        open_video(tmp_path)


def test_unreadable_images_are_left_out_and_reported(tmp_path: Path) -> None:
    for number in range(5):
        _save(tmp_path / f"{number}.png", number)
    (tmp_path / "0.png").write_bytes(b"not an image")
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    with open_video(tmp_path, fps=1) as video:
        assert [(f.pts_seconds, read_number(f.data)) for f in video] == [(1.0, 1), (2.0, 2), (4.0, 4)]
        assert [read_number(frame.data) for frame in video.sample([0.0, 1.0, 3.5, 4.0])] == [1, 1, 2, 4]
        assert len(video.problems) == 2
        assert "0.png" in video.problems[0]
        assert "3.png" in video.problems[1]
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"not an image")
    with pytest.raises(VideoError, match="none of the frames can be read"):
        open_video(tmp_path)
    with pytest.raises(VideoError, match=r"1\.png: this is not an image"):
        open_video(tmp_path / "1.png")


def test_a_tiff_stack_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pages = [Image.fromarray(paint(number)) for number in range(6)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    for source in (path, path.read_bytes()):
        with open_video(source, fps=5) as video:
            assert [read_number(frame.data) for frame in video] == list(range(6))
            assert [read_number(frame.data) for frame in video.sample([0.5])] == [2]
            assert video.end_seconds() == pytest.approx(1.2)


def test_animated_images(tmp_path: Path) -> None:
    pages = [Image.fromarray(paint(number)) for number in range(4)]
    for suffix in ("png", "webp", "gif"):
        pages[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=pages[1:], duration=200)
    for suffix in ("png", "gif"):
        with open_video(tmp_path / f"moving.{suffix}") as video:
            assert [read_number(frame.data) for frame in video] == [0, 1, 2, 3]
            np.testing.assert_allclose(video.frame_times(), [0.0, 0.2, 0.4, 0.6])
    with pytest.raises(VideoError, match=r"moving\.webp: an animated WEBP is not read; convert it"):
        open_video(tmp_path / "moving.webp")


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    picture = Image.fromarray(np.rot90(paint(5)))
    exif = picture.getexif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise to see it upright.
    picture.save(path, exif=exif, quality=95)
    for source in (path, [path], path.read_bytes()):
        with open_video(source) as video:
            assert (video.metadata.width, video.metadata.height) == (128, 96)
            assert [read_number(frame.data) for frame in video] == [5]


def test_image_modes(tmp_path: Path) -> None:
    colour = Image.fromarray(paint(300))
    alpha = colour.convert("RGBA")
    alpha.putalpha(7)
    grey = np.asarray(colour.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    for image in (colour.convert("L"), colour.convert("P"), alpha, colour.convert("CMYK"), deep):
        with open_video(image) as video:
            assert [read_number(frame.data) for frame in video] == [300], image.mode
    with open_video(deep) as video:
        assert np.array_equal(next(iter(video)).data[..., 1], grey)
    stream = io.BytesIO()
    Image.fromarray(grey.astype(np.float32)).save(stream, "TIFF")
    with open_video(stream) as video, pytest.raises(VideoError, match="no fixed range"):
        list(video)


@pytest.mark.parametrize("given", ["file", "bytes", "folder"])
def test_a_damaged_png_is_noticed_by_its_checksums(tmp_path: Path, given: str) -> None:
    """Pillow decodes changed pixels without a word."""
    file = io.BytesIO()
    Image.fromarray(paint(5)).save(file, "PNG", compress_level=0)
    content = bytearray(file.getvalue())
    content[len(content) // 2] ^= 1
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(content if number == 1 else file.getvalue())
    source = {"file": tmp_path / "1.png", "bytes": bytes(content), "folder": tmp_path}[given]
    with open_video(source) as video:
        if given == "folder":
            assert [read_number(frame.data) for frame in video] == [5, 5]
            assert "checksum" in video.problems[0]
        else:
            with pytest.raises(VideoError, match="checksum"):
                list(video)
