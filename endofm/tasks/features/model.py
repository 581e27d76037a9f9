"""``EndoFM``: the encoder with its weights, its preprocessing and its way from a video to features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from endofm.config import ModelConfig
from endofm.hub.state_dict import encoder_shapes
from endofm.kernels.precision import Precision
from endofm.models.encoder import VideoTransformer
from endofm.models.pretrained import Pretrained
from endofm.outputs import EncoderOutput

if TYPE_CHECKING:
    from endofm.hub.resolve import LoadedWeights
    from endofm.tasks.features.results import Level, VideoFeatures
    from endofm.video.open import Decoder, VideoInput

_BACKBONE = "backbone."
"""Prefix of the encoder's tensors in a model with a head."""


class EndoFM(VideoTransformer, Pretrained):
    """Video encoder with weights and preprocessing: what users load and call.

    As a module it is the encoder (``model(clip)`` embeds prepared clips); :meth:`extract_features` takes any video.
    :meth:`from_pretrained` also takes the weights of a model fine-tuned for a task if there is a whole encoder in it (a
    classifier); its head is left out, and its preprocessing is kept.

    Args:
        config: Architecture and preprocessing.
        provenance: Where the weights came from, as plain JSON values; travels with the features.

    Attributes:
        config: The :class:`~endofm.config.ModelConfig` that the model was built from.
        processor: The only way from frames to a clip for these weights.
        provenance: Where the weights came from.

    Example:
        >>> model = EndoFM.from_pretrained("endofm-tiny-8x224-random")  # doctest: +SKIP
        >>> features = model.extract_features("procedure.mp4")  # doctest: +SKIP
        >>> features.embeddings.shape, features.start_seconds[:2]  # doctest: +SKIP
        ((24, 192), array([0., 5.]))
    """

    task = "features"

    def __init__(self, config: ModelConfig | None = None, *, provenance: Mapping[str, Any] | None = None) -> None:
        config = config or ModelConfig(trained=False)
        super().__init__(config.encoder)
        self._describe(config, provenance)

    @classmethod
    def _adopt(cls, loaded: LoadedWeights) -> LoadedWeights:
        """Take the encoder of a model that has a whole one inside."""
        tensors = loaded.state_dict or {}
        own = {name.removeprefix(_BACKBONE): t for name, t in tensors.items() if name.startswith(_BACKBONE)}
        if set(own) != set(encoder_shapes(loaded.config.encoder)):
            return super()._adopt(loaded)
        return replace(loaded, config=replace(loaded.config, head=None), state_dict=own)

    def extract_features(
        self,
        video: VideoInput,
        *,
        level: Level = "clip",
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        frame_stride: int | None = None,
        hop_frames: int | None = None,
        batch_size: int = 4,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        decoder: Decoder = "pyav",
        field_of_view: bool | None = None,
        progress: bool = True,
    ) -> VideoFeatures:
        """Embed a whole video, window by window.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`.
            level: ``"clip"`` for one embedding per window, ``"frame"`` to add one per frame, ``"patch"`` to add the
                patch tokens.
            window_seconds: Length of a window; that of the weights' preprocessing by default.
            hop_seconds: Step between windows; the window's length by default.
            frame_stride: Take every n-th source frame instead: a window is ``num_frames`` such frames.
            hop_frames: Step between those windows in source frames; the window's length by default.
            batch_size: Clips per forward pass.
            device: Move the model there first; where it is by default.
            precision: Switch the model to it first, as in :meth:`from_pretrained`; what it has by default.
            fps: Frame rate of sources that have none (folders, arrays, images).
            decoder: What decodes a video file: ``"pyav"``, or ``"torchcodec"`` where the model is, so on a GPU by its
                decoder.
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; as the weights'
                preprocessing says by default.
            progress: Show a progress bar on a terminal.

        Returns:
            Embeddings with the times they stand for.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        from endofm.tasks.features.stream import FeatureStream
        from endofm.video.clip_windows import WindowSettings

        session = self._session(
            video, device=device, precision=precision, fps=fps, field_of_view=field_of_view, decoder=decoder
        )
        with session as (source, processor):
            windows = WindowSettings.for_preprocess(
                processor.config,
                window_seconds=window_seconds,
                hop_seconds=hop_seconds,
                frame_stride=frame_stride,
                hop_frames=hop_frames,
            )
            stream = FeatureStream(
                self._encode,
                source,
                processor,
                windows,
                level=level,
                batch_size=batch_size,
                device=self.device,
                precision=self.precision,
            )
            return stream.collect(weights=self.weights_provenance(), progress=progress)

    def _encode(self, clips: Tensor, *, level: str) -> EncoderOutput:
        return EncoderOutput(self(clips), None) if level == "clip" else self.forward_features(clips)
