"""``EndoFMForVideoClassification``: a pre-trained video classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from endofm.config import ModelConfig
from endofm.kernels.precision import Precision
from endofm.models.build import build_encoder
from endofm.models.call_view import precision_in_use
from endofm.models.encoder import ClipEncoder
from endofm.outputs import EncoderOutput
from endofm.tasks.classification.classification_head import ClassificationHead
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.results import VideoClassification
from endofm.tasks.task_model import TaskModel

if TYPE_CHECKING:
    from endofm.tasks.classification.stream import ClassificationStream
    from endofm.video.open import VideoInput


class EndoFMForVideoClassification(TaskModel[ClassificationHeadConfig, VideoClassification]):
    """Video classifier: labels, thresholds and preprocessing travel with the weights.

    As a module it maps prepared clips to logits; :meth:`predict` and :meth:`stream` take any video. Not for diagnosis.

    Args:
        config: Architecture, head and preprocessing.
        provenance: Where the weights came from, as plain JSON values.

    Attributes:
        backbone: The encoder.
        head: Maps its tokens to logits.

    Example:
        >>> import torch
        >>> from endofm import ClassificationHeadConfig, EncoderConfig
        >>> head = ClassificationHeadConfig(labels=("normal", "polyp"))
        >>> config = ModelConfig(encoder=EncoderConfig.preset("tiny", depth=1), head=head, trained=False)
        >>> EndoFMForVideoClassification(config)(torch.zeros(1, 3, 8, 224, 224)).shape
        torch.Size([1, 2])
    """

    task = "classification"
    output_noun = "probabilities"
    backbone: ClipEncoder

    def __init__(self, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._describe(config, provenance)
        encoder = config.encoder
        self.backbone = build_encoder(encoder)
        self.head = ClassificationHead(self.head_config, encoder.embed_dim, layer_norm_eps=encoder.layer_norm_eps)

    def forward(self, clip: Tensor) -> Tensor:
        """Return logits.

        Args:
            clip: ``(batch, channels, time, height, width)``, RGB, normalised as the weights' preprocessing says.

        Returns:
            ``(batch, num_classes)``.

        Raises:
            InputError: If the clip has another shape or type.
        """
        logits: Tensor = self.head(self.encode(clip))
        return logits

    @contextmanager
    def stream(
        self,
        video: VideoInput,
        *,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        frame_stride: int | None = None,
        hop_frames: int | None = None,
        batch_size: int = 4,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
    ) -> Iterator[ClassificationStream]:
        """Open a video and return a stream of its clips; use it in a ``with`` statement and iterate over it once.

        Args:
            video: As for :meth:`predict`.
            window_seconds: Length of a window; by default as the weights' preprocessing says.
            hop_seconds: Step between windows; the window's length by default.
            frame_stride: Take every n-th source frame instead: a window is ``num_frames`` such frames.
            hop_frames: Step between those windows in source frames; the window's length by default.
            batch_size: Clips per forward pass.
            device: Device of this call; by default that of the model, which stays where it is.
            precision: Precision of this call, as in :meth:`from_pretrained`; by default that of the model.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; by default as the
                weights' preprocessing says.

        Yields:
            The stream; see :class:`~endofm.tasks.classification.stream.ClassificationStream`.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        from endofm.tasks.classification.stream import ClassificationStream
        from endofm.tasks.features.stream import FeatureStream
        from endofm.video.clip_windows import WindowSettings

        with self._session(video, device=device, precision=precision, fps=fps, field_of_view=field_of_view) as (
            model,
            source,
            processor,
        ):
            windows = WindowSettings.for_preprocess(
                processor.config,
                window_seconds=window_seconds,
                hop_seconds=hop_seconds,
                frame_stride=frame_stride,
                hop_frames=hop_frames,
            )
            logits = FeatureStream(
                model._clip_logits,
                source,
                processor,
                windows,
                batch_size=batch_size,
                device=model.device,
                precision=precision_in_use(model),
            )
            weights = self.weights_provenance()
            yield ClassificationStream(logits, source, self.head_config, self.probabilities, weights=weights)

    def encode(self, clip: Tensor) -> EncoderOutput:
        """Return the encoder's output that the head reads; arguments and errors as :meth:`forward`."""
        if self.head.needs_patch_tokens:
            return self.backbone.forward_features(clip)
        return EncoderOutput(self.backbone(clip), None)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities of logits ``(..., num_classes)``: a softmax, or sigmoids for a multi-label head."""
        return logits.sigmoid() if self.head_config.multi_label else logits.softmax(-1)

    def _clip_logits(self, clips: Tensor, *, level: str) -> EncoderOutput:
        """Return logits in the form of a clip embedding, so that windows and batches are those of features."""
        return EncoderOutput(self(clips), None)
