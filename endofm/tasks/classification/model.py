"""``EndoFMForVideoClassification``: an encoder with a class head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from endofm.config import ModelConfig
from endofm.kernels.precision import Precision
from endofm.models.encoder import VideoTransformer
from endofm.models.frame_encoder import FrameTransformer, build_encoder
from endofm.models.pretrained import Pretrained
from endofm.outputs import EncoderOutput
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.head import ClassificationHead
from endofm.tasks.features.model import EndoFM

if TYPE_CHECKING:
    from typing_extensions import Self

    from endofm.tasks.classification.results import VideoClassification
    from endofm.video.open import VideoInput


class EndoFMForVideoClassification(Pretrained):
    """Video classifier: labels, thresholds and preprocessing travel with the weights.

    As a module it maps prepared clips to logits. Not for diagnosis.

    Args:
        config: Architecture, head and preprocessing.
        provenance: Where the weights came from, as plain JSON values.

    Attributes:
        backbone: The encoder.
        head: From its tokens to logits.

    Example:
        >>> import torch
        >>> from endofm import ClassificationHeadConfig, EncoderConfig
        >>> head = ClassificationHeadConfig(labels=("normal", "polyp"))
        >>> config = ModelConfig(encoder=EncoderConfig.preset("tiny", depth=1), head=head, trained=False)
        >>> EndoFMForVideoClassification(config)(torch.zeros(1, 3, 8, 224, 224)).shape
        torch.Size([1, 2])
    """

    task = "classification"
    backbone: VideoTransformer | FrameTransformer

    def __init__(self, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._describe(config, provenance)
        assert isinstance(config.head, ClassificationHeadConfig)
        encoder = config.encoder
        self.backbone = build_encoder(encoder)
        self.head = ClassificationHead(config.head, encoder.embed_dim, layer_norm_eps=encoder.layer_norm_eps)

    @classmethod
    def from_backbone(
        cls, source: str | Path | EndoFM, head: ClassificationHeadConfig, *, drop_path_rate: float = 0.0, **options: Any
    ) -> Self:
        """Put a new head, whose weights are random, on an encoder, to be trained.

        Args:
            source: An encoder, or where to load one from, as for :meth:`EndoFM.from_pretrained`; the encoder of a
                classifier is taken as well.
            head: What to put on it.
            drop_path_rate: Stochastic depth while training; the original trains with 0.1.
            **options: Further arguments of :meth:`EndoFM.from_pretrained`.

        Returns:
            The model in evaluation mode; ``config.trained`` is false until it is trained.

        Raises:
            WeightsError: If the encoder cannot be loaded.
        """
        encoder = source if isinstance(source, EndoFM) else EndoFM.from_pretrained(source, **options)
        config = replace(
            encoder.config,
            encoder=replace(encoder.config.encoder, drop_path_rate=drop_path_rate),
            head=head,
            name="",
            trained=False,
        )
        model = cls(config, provenance=encoder.provenance)
        model.backbone.load_state_dict(encoder.state_dict())
        return model.to(device=encoder.pos_embed.device, dtype=encoder.pos_embed.dtype).eval()

    def forward(self, clip: Tensor) -> Tensor:
        """Return logits.

        Args:
            clip: ``(batch, channels, time, height, width)``, RGB, normalised as the weights' preprocessing says.

        Returns:
            ``(batch, num_classes)``.

        Raises:
            InputError: If the clip has another form.
        """
        logits: Tensor = self.head(self.encode(clip))
        return logits

    def predict(
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
        progress: bool = True,
    ) -> VideoClassification:
        """Classify a whole video, window by window, in bounded memory.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`.
            window_seconds: Length of a window; that of the weights' preprocessing by default.
            hop_seconds: Step between windows; the window's length by default.
            frame_stride: Take every n-th source frame instead: a window is ``num_frames`` such frames.
            hop_frames: Step between those windows in source frames; the window's length by default.
            batch_size: Clips per forward pass.
            device: Move the model there first; where it is by default.
            precision: Switch the model to it first, as in :meth:`from_pretrained`; what it has by default.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; as the weights'
                preprocessing says by default.
            progress: Show a progress bar on a terminal.

        Returns:
            Probabilities per clip with times, and for the whole video. Not for diagnosis.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        from endofm.tasks.classification.results import VideoClassification
        from endofm.tasks.features.stream import FeatureStream
        from endofm.video.clip_windows import WindowSettings

        session = self._session(video, device=device, precision=precision, fps=fps, field_of_view=field_of_view)
        with session as (source, processor):
            windows = WindowSettings.for_preprocess(
                processor.config,
                window_seconds=window_seconds,
                hop_seconds=hop_seconds,
                frame_stride=frame_stride,
                hop_frames=hop_frames,
            )
            # Logits travel through the stream as embeddings do: one row per clip, with the same times and checks.
            stream = FeatureStream(
                lambda clips, *, level: EncoderOutput(self(clips), None),
                source,
                processor,
                windows,
                batch_size=batch_size,
                device=self.device,
                precision=self.precision,
            )
            logits = stream.collect(weights=self.weights_provenance(), progress=progress)
        values = torch.from_numpy(np.array(logits.embeddings)).double()
        return VideoClassification(
            self.probabilities(values).numpy(),
            logits.start_seconds,
            logits.end_seconds,
            self.head_config,
            logits.provenance,
        )

    def encode(self, clip: Tensor) -> EncoderOutput:
        """Return the tokens that the head reads; arguments and errors as :meth:`forward`."""
        if self.head.needs_patch_tokens:
            return self.backbone.forward_features(clip)
        return EncoderOutput(self.backbone(clip), None)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities of logits ``(..., num_classes)``: a softmax, or sigmoids if several labels may hold."""
        return logits.sigmoid() if self.head_config.multi_label else logits.softmax(-1)

    @property
    def head_config(self) -> ClassificationHeadConfig:
        """Labels, thresholds and form of the head."""
        assert isinstance(self.config.head, ClassificationHeadConfig)
        return self.config.head

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits."""
        return self.head_config.labels

    @classmethod
    def _hint_for(cls, task: str) -> str:
        if task != "features":
            return ""
        return "To train a classifier on it: EndoFMForVideoClassification.from_backbone, or `endofm finetune`."

    def _untrained_words(self) -> str:
        return "this classifier was not trained: its probabilities mean nothing"
