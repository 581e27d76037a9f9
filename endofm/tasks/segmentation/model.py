"""``EndoFMForSegmentation``: a pre-trained model that segments every frame of a video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from endofm.config import ModelConfig, PreprocessConfig
from endofm.errors import ConfigError, InputError
from endofm.kernels.precision import Precision, effective_precision
from endofm.models.build import build_encoder
from endofm.models.call_view import precision_in_use
from endofm.models.encoder import ClipEncoder
from endofm.models.frame_tokens import frame_tokens
from endofm.tasks.segmentation.config import SegmentationHeadConfig
from endofm.tasks.segmentation.hybrid import MIN_SIDE, HybridSegmentationHead, TokenTransformer, hybrid_logits
from endofm.tasks.segmentation.light import LightSegmentationHead
from endofm.tasks.segmentation.results import VideoMasks
from endofm.tasks.task_model import TaskModel

if TYPE_CHECKING:
    from endofm.tasks.segmentation.stream import MaskStream
    from endofm.video.open import VideoInput

_STRIDE = 16
"""Height and width of a clip are multiples of this, the stride of the stem."""


class EndoFMForSegmentation(TaskModel[SegmentationHeadConfig, VideoMasks]):
    """Video segmentation: a class for every pixel of every frame.

    As a module it maps prepared clips to logits; :meth:`predict` and :meth:`stream` take any video. Not for diagnosis.

    Args:
        config: Architecture, head and preprocessing.
        provenance: Where the weights came from, as plain JSON values.

    Attributes:
        backbone: The encoder (light head), or its blocks only (hybrid head, which has a stem instead of the encoder's
            patch embedding).
        head: Maps tokens to masks.

    Example:
        >>> import torch
        >>> from endofm import EncoderConfig, SegmentationHeadConfig
        >>> head = SegmentationHeadConfig(labels=("background", "polyp"), network="light")
        >>> config = ModelConfig(encoder=EncoderConfig.preset("tiny", depth=1), head=head, trained=False)
        >>> EndoFMForSegmentation(config)(torch.zeros(1, 3, 2, 64, 64)).shape
        torch.Size([1, 2, 2, 64, 64])
    """

    task = "segmentation"
    output_noun = "masks"

    def __init__(self, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._describe(config, provenance)
        encoder, head = config.encoder, self.head_config
        self.backbone: ClipEncoder | TokenTransformer
        self.head: LightSegmentationHead | HybridSegmentationHead
        if head.network == "light":
            self.backbone = build_encoder(encoder)
            self.head = LightSegmentationHead(
                encoder.embed_dim,
                head.num_classes,
                width=head.light_width,
                patch_size=encoder.patch_size,
                dropout=head.dropout,
            )
            return
        if config.transformer.attention_type != "divided_space_time":
            raise ConfigError(
                "the hybrid network takes the blocks of a video encoder; use the light network with an image "
                "transformer (frames_only)"
            )
        first, second, third = head.stem_units
        w0, w1, w2, w3, w4 = head.decoder_widths
        self.backbone = TokenTransformer(config.transformer)
        self.head = HybridSegmentationHead(
            encoder.embed_dim,
            head.num_classes,
            grid_size=encoder.img_size // _STRIDE,
            in_chans=encoder.in_chans,
            stem_width=head.stem_width,
            stem_units=(first, second, third),
            decoder_widths=(w0, w1, w2, w3, w4),
            dropout=head.dropout,
        )

    @classmethod
    def default_preprocess(cls, config: ModelConfig) -> PreprocessConfig:
        """Return the whole frame, resized to the encoder's size, with the encoder's statistics."""
        known = config.preprocess
        return PreprocessConfig.whole_frame(
            config.encoder.img_size,
            num_frames=known.num_frames,
            window_seconds=known.window_seconds,
            mean=known.mean,
            std=known.std,
        )

    @contextmanager
    def stream(
        self,
        video: VideoInput,
        *,
        num_frames: int | None = None,
        overlap: int | None = None,
        frame_stride: int = 1,
        batch_size: int = 1,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
    ) -> Iterator[MaskStream]:
        """Open a video and return a stream of its masks; use it in a ``with`` statement and iterate over it once.

        Args:
            video: As for :meth:`predict`.
            num_frames: Frames that are processed together; by default as the weights' preprocessing says.
            overlap: Frames that neighbouring windows share; their probabilities are blended. A quarter of
                ``num_frames`` by default, 0 for none.
            frame_stride: Segment every n-th frame only.
            batch_size: Windows per forward pass; more than 1 helps on GPUs only.
            device: Device of this call; by default that of the model, which stays where it is.
            precision: Precision of this call, as in :meth:`from_pretrained`; by default that of the model.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; everything outside
                of it is background. By default as the weights' preprocessing says.

        Yields:
            The stream; see :class:`~endofm.tasks.segmentation.stream.MaskStream`.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        from endofm.tasks.segmentation.stream import MaskStream

        with self._session(video, device=device, precision=precision, fps=fps, field_of_view=field_of_view) as (
            model,
            source,
            processor,
        ):
            yield MaskStream(
                model,
                source,
                processor,
                labels=self.labels,
                device=model.device,
                precision=precision_in_use(model),
                weights=self.weights_provenance(),
                num_frames=num_frames,
                overlap=overlap,
                frame_stride=frame_stride,
                batch_size=batch_size,
            )

    def forward(self, clip: Tensor) -> Tensor:
        """Return logits.

        Args:
            clip: ``(batch, channels, time, height, width)``, prepared as the weights' preprocessing says; any number of
                frames, height and width multiples of 16.

        Returns:
            ``(batch, num_classes, time, height, width)``.

        Raises:
            InputError: If the clip has another shape or type.
        """
        if isinstance(self.head, LightSegmentationHead):
            assert not isinstance(self.backbone, TokenTransformer)
            tokens = frame_tokens(self.backbone, clip)
            with self._half_precision(clip):
                out: Tensor = self.head(tokens)
            return out.float() if out.dtype is torch.bfloat16 else out
        assert isinstance(self.backbone, TokenTransformer)
        self._check(clip)
        return hybrid_logits(self.backbone, self.head, clip.to(self.dtype), self._half_precision(clip))

    def _half_precision(self, clip: Tensor) -> torch.autocast:
        """Return the autocast context of the convolutions; the encoder's blocks apply the precision by themselves."""
        inference = not self.training and not torch.is_grad_enabled()
        lower = inference and effective_precision(self.precision, clip.device) == "bfloat16"
        return torch.autocast(clip.device.type, dtype=torch.bfloat16, enabled=lower)

    def _check(self, clip: Tensor) -> None:
        expected = "(batch, channels, time, height, width)"
        if not isinstance(clip, Tensor) or clip.ndim != 5:
            raise InputError(
                f"a clip is a tensor with 5 axes {expected}, got {getattr(clip, 'shape', type(clip).__name__)}"
            )
        if not clip.is_floating_point():
            raise InputError(f"a clip is normalised and floating point, got {clip.dtype}; use the model's processor")
        chans = self.config.encoder.in_chans
        if clip.shape[1] != chans:
            raise InputError(f"this model takes {chans} channels in axis 1 of {expected}, got {tuple(clip.shape)}")
        if clip.shape[2] < 1:
            raise InputError(f"a clip has at least one frame, got shape {tuple(clip.shape)}")
        height, width = clip.shape[3:]
        if height % _STRIDE or width % _STRIDE or min(height, width) < MIN_SIDE:
            raise InputError(
                f"height and width must be multiples of {_STRIDE} and at least {MIN_SIDE}, got {height} x {width}; "
                f"resize or crop the frames first"
            )
