"""Features of one moment of a video, as extraction of the whole video would give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from endofm.errors import InputError
from endofm.tasks.features.results import VideoFeatures, clock
from endofm.tasks.features.stream import FeatureStream
from endofm.tasks.result_rows import row_at
from endofm.video.clip_windows import WindowPlan, WindowSettings

if TYPE_CHECKING:
    from endofm.tasks.features.model import VideoEncoder
    from endofm.video.open import VideoInput


def embed_moment(
    encoder: VideoEncoder,
    video: VideoInput,
    seconds: float,
    windows: Mapping[str, Any],
    *,
    field_of_view: bool | None = None,
) -> VideoFeatures:
    """Embed the clip of a video at one time, without reading the rest.

    Args:
        encoder: The encoder.
        video: As for :meth:`~endofm.tasks.features.model.VideoEncoder.extract_features`.
        seconds: A time in the video, seconds after the first frame.
        windows: Windows of the whole video, as provenance states them; the one that holds the time is embedded.
        field_of_view: Crop to the endoscope's image; by default as the weights' preprocessing specifies.

    Returns:
        Features of one clip.

    Raises:
        VideoError: If the video cannot be read.
        InputError: If the video does not have this time.
    """
    chosen = {name: value for name, value in windows.items() if name != "num_frames"}
    with encoder._session(video, field_of_view=field_of_view) as (model, source, processor):
        settings = WindowSettings.for_preprocess(processor.config, **chosen)
        stream = FeatureStream(
            model._encode,
            source,
            processor,
            settings,
            batch_size=1,
            device=model.device,
            precision=model.precision,
            tubelet_size=encoder.tubelet_size,
        )
        plan = stream.plan
        end = source.end_seconds()
        if not 0 <= seconds <= end:
            raise InputError(f"{source.metadata.name}: there is no {clock(seconds)} in it; it ends at {clock(end)}")
        # A last window that is too short is left out by the plan; its frames are nearest to the window before.
        row = row_at(plan.start_seconds, plan.end_seconds, min(seconds, float(plan.end_seconds.max())), "the video")
        only = slice(row, row + 1)
        stream.plan = WindowPlan(plan.start_seconds[only], plan.end_seconds[only], plan.frame_times[only])
        return stream.collect(weights=encoder.weights_provenance(), progress=False)
