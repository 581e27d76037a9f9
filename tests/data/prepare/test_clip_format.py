from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.data.prepare.clip_format import ClipFormat, split_lengths, split_stream
from endofm.errors import ConfigError
from endofm.video.find import naturally

sides = st.integers(17, 4000)


@given(frames=st.integers(0, 2000), clip=st.integers(1, 200))
def test_every_frame_is_in_one_clip_and_the_last_takes_the_remainder(frames: int, clip: int) -> None:
    lengths = split_lengths(frames, clip)
    assert sum(lengths) == frames
    assert all(length == clip for length in lengths[:-1])
    if frames >= clip:
        assert clip <= lengths[-1] < 2 * clip


@given(frames=st.integers(0, 700), clip=st.integers(1, 150))
def test_the_stream_is_cut_like_the_list(frames: int, clip: int) -> None:
    clips = [list(part) for part in split_stream(range(frames), clip)]
    assert [len(part) for part in clips] == split_lengths(frames, clip)
    assert [number for part in clips for number in part] == list(range(frames))


def test_a_stream_is_read_no_further_than_one_clip_ahead() -> None:
    stream = iter(range(10_000))
    list(next(split_stream(stream, 150)))
    assert next(stream) == 300


@given(width=sides, height=sides)
def test_sizes_are_even_and_keep_the_aspect_ratio(width: int, height: int) -> None:
    new_width, new_height = ClipFormat().size(width, height)
    assert min(new_width, new_height) == 256
    assert new_width % 2 == new_height % 2 == 0
    scale = 256 / min(width, height)
    assert abs(new_width - width * scale) <= 2
    assert abs(new_height - height * scale) <= 2


@pytest.mark.parametrize("change", [{"clip_frames": 0}, {"short_side": 255}, {"short_side": 8}, {"fps": 1.5}])
def test_impossible_formats_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        ClipFormat(**change)


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["b/img_10.jpg", "b/img_2.jpg", "a10/1.jpg", "a9/1.jpg"]
    assert naturally(names) == ["a9/1.jpg", "a10/1.jpg", "b/img_2.jpg", "b/img_10.jpg"]
