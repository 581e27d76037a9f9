"""Attention and principal components, painted where the patches are; the commands that write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm import EndoFM, load_encoder
from endofm.cli.main import main
from endofm.errors import InputError
from endofm.video.writer import write_video
from endofm.visualize.token_pictures import attention_pictures, pca_pictures, save_sheet

HEIGHT, WIDTH = 96, 160


@pytest.fixture(scope="module")
def model() -> EndoFM:
    return EndoFM.from_pretrained("endofm-nano-4x96")


@pytest.fixture(scope="module")
def halves() -> np.ndarray:
    """Frames whose left half is smooth and whose right half is a checkerboard; they get brighter."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    pattern = np.where(x < WIDTH // 2, 0.5, (x // 4 + y // 4) % 2)
    frames = pattern[None, ..., None] * np.linspace(120, 250, 20)[:, None, None, None] * [1.0, 0.6, 0.5]
    return frames.astype(np.uint8)


@pytest.mark.parametrize("draw", [attention_pictures, pca_pictures])
def test_pictures_cover_what_the_encoder_sees(draw: object, model: EndoFM, halves: np.ndarray) -> None:
    assert callable(draw)
    pictures = draw(model, halves, [1.0, 0.2], fps=10, window_seconds=0.4)
    assert [one.seconds for one in pictures] == pytest.approx([0.2, 1.0])
    for one in pictures:
        assert one.picture.shape == one.frame.shape == (HEIGHT, WIDTH, 3)
        np.testing.assert_array_equal(one.frame, halves[round(one.seconds * 10)])
        # The preprocessing keeps a square; what is beside it is grey.
        corners = model.processor.geometry(HEIGHT, WIDTH).to_source([0, 0, 96, 96])
        inside = np.zeros((HEIGHT, WIDTH), bool)
        inside[:, round(corners[0]) : round(corners[2])] = True
        coloured = np.ptp(one.picture, axis=2) > 0
        assert not coloured[~inside].any()
        assert coloured[inside].mean() > 0.9


def test_equal_patches_have_equal_colours(model: EndoFM, halves: np.ndarray) -> None:
    (one,) = pca_pictures(model, halves, [1.0], fps=10)
    left, right = one.picture[20:76, 40:72].astype(float), one.picture[20:76, 90:122].astype(float)
    between = np.abs(left.mean((0, 1)) - right.mean((0, 1))).max()
    assert between > 40
    again = pca_pictures(model, halves, [1.0], fps=10)[0]
    np.testing.assert_array_equal(one.picture, again.picture)


def test_attention_follows_the_weights(model: EndoFM, halves: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    weights = torch.zeros(1, 4, 3, 37, 37)
    weights[..., 0, 1 + 6 * 4 + 5] = 1  # row 4, column 5 of 6
    monkeypatch.setattr(model, "get_last_attention", lambda clip: weights)
    (one,) = attention_pictures(model, np.full_like(halves, 90), [0.5], fps=10)
    row, column = np.unravel_index(one.picture.sum(axis=2).argmax(), (HEIGHT, WIDTH))
    (x, y) = model.processor.geometry(HEIGHT, WIDTH).to_clip([column, row])
    assert (int(y // 16), int(x // 16)) == (4, 5)


def test_wrong_requests_are_refused(model: EndoFM, halves: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame at 7 s"):
        pca_pictures(model, halves, [7.0], fps=10)
    with pytest.raises(InputError, match="a time in the video must be a number"):
        pca_pictures(model, halves, [-1.0], fps=10)
    with pytest.raises(InputError, match=r"Endo-FM\) alone"):
        attention_pictures(load_encoder("endomamba-tiny-random"), halves, [0.0], fps=10)
    with pytest.raises(InputError, match="no frames to draw"):
        save_sheet([], tmp_path / "a.png")
    with pytest.raises(InputError, match="written as"):
        save_sheet([], tmp_path / "a.gif")


def test_every_kind_has_components(halves: np.ndarray) -> None:
    (one,) = pca_pictures(load_encoder("endomamba-tiny-random"), halves, [0.3], fps=10)
    assert np.ptp(one.picture, axis=2).max() > 40


@pytest.mark.parametrize("kind", ["attention", "pca"])
def test_the_commands(kind: str, halves: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "one.mp4", halves, fps=10)
    out = tmp_path / "picture.png"
    command = ["visualize", kind, str(tmp_path / "one.mp4"), "-o", str(out)]
    assert main([*command, "--time", "0:61"]) == 1
    assert "--time must be a time" in capsys.readouterr().err
    assert main([*command, "--time", "0:01.5", "--time", "0"]) == 0
    assert "2 frames" in capsys.readouterr().out
    assert Image.open(out).size == (2 * WIDTH, 2 * HEIGHT)
    assert main(command) == 1
    assert main([*command, "--overwrite"]) == 0
    assert Image.open(out).size == (2 * WIDTH, 4 * HEIGHT)
