"""Features of one moment are those of the whole video."""

from __future__ import annotations

import numpy as np
import pytest

from endofm import demo_video, load_encoder
from endofm.errors import InputError
from endofm.tasks.features.clip_at import embed_moment


@pytest.mark.parametrize(
    "windows", [{"window_seconds": 2.0, "hop_seconds": 1.0}, {"frame_stride": 5, "hop_frames": 20}]
)
def test_a_moment_is_the_clip_of_the_whole_video(windows: dict) -> None:
    encoder = load_encoder("endofm-nano-4x96")
    whole = encoder.extract_features(demo_video(), progress=False, **windows)
    for seconds in (0.0, 7.3, 19.8):
        clip = whole.at(min(seconds, whole.end_seconds.max()))
        one = embed_moment(encoder, demo_video(), seconds, whole.provenance["windows"])
        assert len(one) == 1
        assert one[0].start_seconds == clip.start_seconds
        assert np.allclose(one[0].embedding, clip.embedding, atol=1e-5)
    with pytest.raises(InputError, match="it ends at 0:20"):
        embed_moment(encoder, demo_video(), 25.0, whole.provenance["windows"])
