"""Frozen encoders and controls."""

import numpy as np
import pytest
import torch

from endofm.bench.frozen import ColourHistogram, Thumbnail, architecture_of, make_frozen
from endofm.errors import InputError
from endofm.tasks.features.model import load_encoder
from helpers.golden_fill import uint8_clip

STILLS = [uint8_clip(f"still{i}", (1, 60 + i, 80, 3))[None] for i in range(3)]
CLIPS = [uint8_clip(f"clip{i}", (8, 60, 80, 3)).reshape(2, 4, 60, 80, 3) for i in range(2)]


def test_untrained_encoders_have_seeds_of_their_own() -> None:
    trained, zero, again, one = (
        make_frozen(spec, frames=1).embed(STILLS, "whole").items
        for spec in ("endofm-nano-4x96", *(f"untrained:endofm-nano-4x96{seed}" for seed in ("", ":0", ":1")))
    )
    assert trained.shape == zero.shape == (3, 192)
    assert np.array_equal(zero, again)
    assert not np.allclose(zero, one)
    assert not np.allclose(zero, trained)


def test_keys_follow_weights_and_frames() -> None:
    keys = {
        make_frozen(spec, frames=frames).key
        for spec in ("endofm-nano-4x96", "untrained:endofm-nano-4x96", "untrained:endofm-nano-4x96:1")
        for frames in (1, 4)
    }
    assert len(keys) == 6
    assert make_frozen("endofm-nano-4x96").key == make_frozen("endofm-nano-4x96", frames=4).key


def test_the_own_view_is_what_the_encoder_computes_from_its_processor() -> None:
    encoder = load_encoder("endofm-nano-4x96")
    found = make_frozen("endofm-nano-4x96").embed(CLIPS, "own")
    clips = torch.stack([encoder.processor(clip) for clip in CLIPS[0]])
    with torch.no_grad():
        expected = encoder(clips).mean(0)
    # An item is the mean of its clips.
    np.testing.assert_allclose(found.items[0], expected.numpy(), atol=1e-4)
    assert found.cells is not None
    assert found.cells.shape == (2, 6, 6, 192)


@pytest.mark.parametrize("spec", ["vjepa2-tiny-random", "endovit-tiny-random", "untrained:endofm-lv-tiny-random"])
def test_every_kind_of_encoder_embeds(spec: str) -> None:
    frozen = make_frozen(spec)
    for view in ("own", "whole"):
        found = frozen.embed(CLIPS, view)  # type: ignore[arg-type]
        assert found.cells is not None
        assert found.items.shape == (2, 64)
        assert found.cells.shape == (2, 6, 6, 64)
        assert np.isfinite(found.items).all()


def test_controls_see_colours_and_pixels() -> None:
    red = np.zeros((1, 1, 32, 32, 3), np.uint8)
    red[..., 0] = 255
    half = red.copy()
    half[..., :16, 0] = 0
    bins = ColourHistogram().embed([red, half], "whole").items
    # Shares of the colours 48 (all red) and 0 (black), as square roots.
    assert bins[0, 48] == 1
    assert bins[1, [0, 48]] == pytest.approx(np.sqrt([0.5, 0.5]))
    pixels = Thumbnail().embed([red, half], "whole").items.reshape(2, 8, 8, 3)
    assert pixels[0, ..., 0].min() == 1
    assert pixels[1, :, 0, 0].max() < 0.1


def test_names_of_untrained_encoders() -> None:
    assert architecture_of("untrained:timm:resnet18:3") == ("timm:resnet18", 3)
    assert architecture_of("untrained:timm:resnet18") == ("timm:resnet18", 0)
    with pytest.raises(InputError, match="untrained:WEIGHTS"):
        architecture_of("untrained:")
