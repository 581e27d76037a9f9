"""``EndoFMForSegmentation``: masks for every frame of a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from endofm.config import ModelConfig, PreprocessConfig
from endofm.errors import ConfigError, InputError
from endofm.models.encoder import VideoTransformer
from endofm.models.frame_encoder import FrameTransformer, build_encoder
from endofm.models.pretrained import Pretrained
from endofm.tasks.features.model import EndoFM
from endofm.tasks.segmentation.config import SegmentationHeadConfig
from endofm.tasks.segmentation.hybrid import MIN_SIDE, HybridMaskHead, TokenTransformer, hybrid_logits
from endofm.tasks.segmentation.light import LightMaskHead
from endofm.tasks.segmentation.segments_videos import SegmentsVideos

if TYPE_CHECKING:
    from typing_extensions import Self

_STRIDE = 16


class EndoFMForSegmentation(SegmentsVideos, Pretrained):
    """Video segmentation: a class for every pixel of every frame.

    As a module it maps prepared clips to logits; ``predict``, ``stream``, ``paint`` and ``write_masks`` take any video.
    Not for diagnosis.

    Args:
        config: Architecture, head and preprocessing.
        provenance: Where the weights came from, as plain JSON values.

    Attributes:
        backbone: The encoder (light head), or its blocks alone (hybrid head, which has a stem of its own).
        head: What makes masks of its tokens.

    Example:
        >>> import torch
        >>> from endofm import EncoderConfig, SegmentationHeadConfig
        >>> head = SegmentationHeadConfig(labels=("background", "polyp"), network="light")
        >>> config = ModelConfig(encoder=EncoderConfig.preset("tiny", depth=1), head=head, trained=False)
        >>> EndoFMForSegmentation(config)(torch.zeros(1, 3, 2, 64, 64)).shape
        torch.Size([1, 2, 2, 64, 64])
    """

    task = "segmentation"

    def __init__(self, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._describe(config, provenance)
        encoder, head = config.encoder, self.head_config
        self.backbone: VideoTransformer | FrameTransformer | TokenTransformer
        self.head: LightMaskHead | HybridMaskHead
        if head.network == "light":
            self.backbone = build_encoder(encoder)
            self.head = LightMaskHead(
                encoder.embed_dim,
                head.num_classes,
                width=head.light_width,
                patch_size=encoder.patch_size,
                dropout=head.dropout,
            )
            return
        if encoder.attention_type != "divided_space_time":
            raise ConfigError(
                "the hybrid network takes the blocks of a video encoder; an image transformer (frames_only) goes with "
                "the light one"
            )
        first, second, third = head.stem_units
        w0, w1, w2, w3, w4 = head.decoder_widths
        self.backbone = TokenTransformer(encoder)
        self.head = HybridMaskHead(
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
    def from_backbone(
        cls,
        source: str | Path | EndoFM,
        head: SegmentationHeadConfig,
        *,
        preprocess: PreprocessConfig | None = None,
        drop_path_rate: float = 0.0,
        **options: Any,
    ) -> Self:
        """Put a new mask head, whose weights are random, on an encoder, to be trained.

        A hybrid network takes over class token, blocks and final norm; the encoder's patch embedding and its position
        and time tables have no place in it.

        Args:
            source: An encoder, or where to load one from, as for :meth:`EndoFM.from_pretrained`.
            head: What to put on it.
            preprocess: Frames to clip; by default the whole frame, resized to the encoder's size, with the encoder's
                statistics.
            drop_path_rate: Stochastic depth while training; the original trains with 0.1.
            **options: Further arguments of :meth:`EndoFM.from_pretrained`.

        Returns:
            The model in evaluation mode; ``config.trained`` is false until it is trained.

        Raises:
            WeightsError: If the encoder cannot be loaded.
        """
        encoder = source if isinstance(source, EndoFM) else EndoFM.from_pretrained(source, **options)
        known = encoder.config.preprocess
        whole = PreprocessConfig.whole_frame(
            encoder.config.encoder.img_size,
            num_frames=known.num_frames,
            window_seconds=known.window_seconds,
            mean=known.mean,
            std=known.std,
        )
        config = replace(
            encoder.config,
            encoder=replace(encoder.config.encoder, drop_path_rate=drop_path_rate),
            preprocess=preprocess or whole,
            head=head,
            name="",
            trained=False,
        )
        model = cls(config, provenance=encoder.provenance)
        wanted = model.backbone.state_dict()
        model.backbone.load_state_dict({name: t for name, t in encoder.state_dict().items() if name in wanted})
        return model.to(device=encoder.pos_embed.device, dtype=encoder.pos_embed.dtype).eval()

    def forward(self, clip: Tensor) -> Tensor:
        """Return logits.

        Args:
            clip: ``(batch, channels, time, height, width)``, prepared as the weights' preprocessing says; any number of
                frames, height and width multiples of 16.

        Returns:
            ``(batch, num_classes, time, height, width)``.

        Raises:
            InputError: If the clip has another form.
        """
        if isinstance(self.head, LightMaskHead):
            assert not isinstance(self.backbone, TokenTransformer)
            tokens = self.backbone.forward_features(clip).patch_tokens
            with self._half_precision(clip):
                out: Tensor = self.head(tokens)
            return out.float() if out.dtype is torch.bfloat16 else out
        assert isinstance(self.backbone, TokenTransformer)
        self._check(clip)
        return hybrid_logits(self.backbone, self.head, clip.to(self.dtype), self._half_precision(clip))

    def _half_precision(self, clip: Tensor) -> torch.autocast:
        """Return the context in which convolutions compute; the encoder's blocks see to their precision themselves."""
        lower = self.precision == "bfloat16" and not self.training and not torch.is_grad_enabled()
        return torch.autocast(clip.device.type, dtype=torch.bfloat16, enabled=lower)

    @classmethod
    def _hint_for(cls, task: str) -> str:
        if task != "features":
            return ""
        return "To train masks on it: EndoFMForSegmentation.from_backbone, or `endofm finetune segmentation`."

    def _untrained_words(self) -> str:
        return "this mask model was not trained: its masks mean nothing"

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
