"""``EndoFMForDetection``: a pre-trained detector of objects in endoscopy video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from endofm.config import BaseEncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import ConfigError, EncoderOutputError, quoted
from endofm.kernels.precision import Precision, effective_precision
from endofm.models.build import build_encoder
from endofm.models.call_view import precision_in_use
from endofm.models.encoder import ClipEncoder
from endofm.tasks.detection.cells import FrameBoxes, PyramidLevel
from endofm.tasks.detection.config import DetectionHeadConfig
from endofm.tasks.detection.decoding import decode
from endofm.tasks.detection.detector import DetectionHead, VideoDetector, join_levels, side_multiple
from endofm.tasks.detection.results import VideoDetections
from endofm.tasks.detection.stream import DetectionStream
from endofm.tasks.detection.supports import SupportPlan
from endofm.tasks.detection.tracks import TrackLinker
from endofm.tasks.task_model import TaskModel

if TYPE_CHECKING:
    from endofm.video.open import VideoInput

_DEFAULT_SIZE = 640
"""Longer side of a frame in a new detector, in pixels."""


class EndoFMForDetection(TaskModel[DetectionHeadConfig, VideoDetections], VideoDetector):
    """Detector of objects in endoscopy video; classes, thresholds and preprocessing travel with the weights.

    Each frame is refined with features of the frames around it. :meth:`predict` and :meth:`stream` take any video. Not
    for diagnosis.

    Args:
        config: Architecture, head and preprocessing.
        provenance: Where the weights came from, as plain JSON values.

    Attributes:
        backbone: The encoder.
        head: Pyramid, first stage and refinement.

    Example:
        >>> model = EndoFMForDetection.from_pretrained("kumc.pth")  # doctest: +SKIP
        >>> detections = model.predict("procedure.mp4")  # doctest: +SKIP
        >>> detections[0].boxes, detections[0].scores  # doctest: +SKIP
        >>> detections.save("boxes.json")  # doctest: +SKIP
    """

    task = "detection"
    output_noun = "boxes"
    backbone: ClipEncoder

    def __init__(self, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        head, encoder = config.head, config.encoder
        if not isinstance(head, DetectionHeadConfig):
            # Before the network is built from it, hence not in _describe().
            raise ConfigError(
                f"EndoFMForDetection needs a configuration with a head of DetectionHeadConfig, got {quoted(head)}"
            )
        super().__init__(
            build_encoder(encoder),
            DetectionHead(
                embed_dim=encoder.embed_dim,
                patch_size=encoder.patch_size,
                num_classes=head.num_classes,
                channels=head.channels,
                tower_depth=head.tower_depth,
                norm_groups=head.norm_groups,
                offset_groups=head.offset_groups,
            ),
        )
        self._describe(config, provenance)

    @contextmanager
    def stream(
        self,
        video: VideoInput,
        *,
        min_score: float | None = None,
        max_detections: int | None = None,
        online: bool = False,
        frame_stride: int = 1,
        supports: SupportPlan | None = None,
        clip_frames: int | None = None,
        link: bool = True,
        batch_size: int = 2,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
    ) -> Iterator[DetectionStream]:
        """Open a video and return a stream of its boxes; use it in a ``with`` statement and iterate over it once.

        Args:
            video: As for :meth:`predict`.
            min_score: Smallest score of a box; by default as the weights' configuration says.
            max_detections: Largest number of boxes of a frame; by default only the weights' configuration limits it.
            online: Use no later frames: each frame is answered before the next one is read. By default a frame waits
                for the ``support_reach`` frames after it.
            frame_stride: Process every n-th frame of the video; supports are counted among those.
            supports: Selection of the frames that support a frame; by default as the weights' configuration says.
            clip_frames: Successive frames that share the encoder's attention over time; by default as the weights'
                configuration says.
            link: Link boxes into tracks by their overlap (:class:`~endofm.tasks.detection.tracks.TrackLinker`).
            batch_size: Clips per forward pass.
            device: Device of this call; by default that of the model, which stays where it is.
            precision: Precision of this call, as in :meth:`from_pretrained`; by default that of the model.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; by default as the
                weights' preprocessing says.

        Yields:
            The stream; see :class:`~endofm.tasks.detection.stream.DetectionStream`.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        head = self.head_config
        plan = supports or self.support_plan()
        if online:
            plan = replace(plan, online=True)
        with self._session(video, device=device, precision=precision, fps=fps, field_of_view=field_of_view) as (
            model,
            source,
            processor,
        ):
            yield DetectionStream(
                model,
                source,
                processor,
                plan=plan,
                label_names=self.labels,
                device=model.device,
                precision=precision_in_use(model),
                weights=self.weights_provenance(),
                batch_size=batch_size,
                clip_frames=head.clip_frames if clip_frames is None else clip_frames,
                frame_stride=frame_stride,
                min_score=head.min_score if min_score is None else min_score,
                max_detections=max_detections,
                last_pixel_inside=head.last_pixel_inside,
                linker=TrackLinker() if link else None,
            )

    def support_plan(self) -> SupportPlan:
        """Return the selection of supports in the weights' configuration."""
        head = self.head_config
        return SupportPlan(pattern=head.supports, count=head.num_supports, reach=head.support_reach)

    def encode_frames(self, clips: Tensor) -> list[list[PyramidLevel]]:
        """Run the encoder and the first stage: the part of a detection that concerns each frame alone.

        Args:
            clips: ``(batch, 3, time, height, width)``, normalised as the weights' preprocessing says.

        Returns:
            The pyramid levels of each frame, clip by clip, to be passed to :meth:`find_boxes`.

        Raises:
            EncoderOutputError: If values are not finite.
        """
        tokens = self.tokens(clips)
        with self._autocast(tokens):
            levels = self.head.first_stage(tokens)
        if not all(level.logits.isfinite().all() and level.boxes.isfinite().all() for level in levels):
            raise EncoderOutputError(
                "the detector returned values that are not numbers. Its weights are damaged, or this precision is too "
                "low for them: check the file of the weights, or use float32"
            )
        return [[level.select(i) for level in levels] for i in range(len(levels[0].logits))]

    def find_boxes(
        self, target: list[PyramidLevel], supports: list[list[PyramidLevel]], size: tuple[int, int]
    ) -> FrameBoxes:
        """Refine one frame and decode its boxes.

        Args:
            target: Pyramid levels of the frame, from :meth:`encode_frames`.
            supports: Those of any number of other frames, including none.
            size: Height and width of the part of the network's input that shows the frame; boxes end there.
        """
        others = join_levels(supports) if supports else [level.select(slice(0, 0)) for level in target]
        head = self.head_config
        rim = int(head.last_pixel_inside)
        with self._autocast(target[0].boxes):
            refined = self.refine(target, others)
        result = decode(
            target,
            refined,
            0,
            limits=(size[1] - rim, size[0] - rim),
            score_threshold=head.score_threshold,
            candidates=head.candidates,
            nms_iou=head.nms_iou,
            across_classes=head.nms_across_classes,
            max_boxes=head.max_boxes,
        )
        return FrameBoxes(*(tensor.cpu() for tensor in result))

    @classmethod
    def default_preprocess(cls, config: ModelConfig) -> PreprocessConfig:
        """Return whole frames with their aspect ratio, the longer side 640 pixels, and the encoder's statistics."""
        multiple = side_multiple(config.encoder.patch_size)
        return fitted_frame(config.encoder, config.preprocess, size=_DEFAULT_SIZE - _DEFAULT_SIZE % multiple)

    def _autocast(self, x: Tensor) -> torch.autocast:
        """Apply the model's precision to the head's convolutions; the encoder applies it by itself."""
        lower = effective_precision(self.precision, x.device) == "bfloat16"
        return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=lower)


def fitted_frame(encoder: BaseEncoderConfig, known: PreprocessConfig, *, size: int) -> PreprocessConfig:
    """Return whole frames with their aspect ratio, padded to sides that a detector on an encoder takes.

    Args:
        encoder: The encoder.
        known: Preprocessing of the encoder, whose statistics are kept.
        size: Longer side in pixels.

    Raises:
        ConfigError: If the size is no side that the detector takes; the message names the nearest.
    """
    return PreprocessConfig.fitted_frame(
        size, num_frames=1, mean=known.mean, std=known.std, pad_multiple=side_multiple(encoder.patch_size)
    )
