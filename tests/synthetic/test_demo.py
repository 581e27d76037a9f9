"""The demo video: rendered by the renderer of the package, small, and readable with the base installation."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np

from endofm import demo_video, open_video
from endofm.synthetic.demo import FPS, demo_scenes
from endofm.synthetic.render import render_clip
from endofm.synthetic.specs import NOTICE


def test_the_demo_is_small_and_says_that_it_is_synthetic() -> None:
    assert demo_video().stat().st_size < 300_000
    with av.open(str(demo_video())) as container:
        assert container.metadata["comment"] == NOTICE
        assert container.streams.video[0].codec_context.name == "h264"


def test_the_demo_shows_the_scenes_of_the_renderer() -> None:
    scenes = demo_scenes()
    with open_video(demo_video()) as source:
        frames = [frame.data for frame in source]
        assert source.metadata.average_fps == FPS
    length = scenes[0].config.num_frames
    assert len(frames) == length * len(scenes)
    for number, scene in enumerate(scenes):
        # The first frame of a scene does not depend on its length.
        rendered = render_clip(replace(scene, config=replace(scene.config, num_frames=1))).frames[0]
        difference = np.abs(frames[number * length].astype(int) - rendered)
        # The rest is the loss of the codec, about 3 grey levels; neighbouring scenes differ by 9 or more.
        assert difference.mean() < 6, number
