"""``EndoFMForDetection``: the detector with its weights, its preprocessing and its way from a video to boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from endofm.config import ModelConfig, PreprocessConfig
from endofm.errors import ConfigError, EncoderOutputError
from endofm.kernels.precision import Precision
from endofm.models.encoder import VideoTransformer
from endofm.models.frame_encoder import FrameTransformer, build_encoder
from endofm.models.pretrained import Pretrained
from endofm.tasks.detection.cells import Level
from endofm.tasks.detection.config import DetectionHeadConfig
from endofm.tasks.detection.decoding import decode
from endofm.tasks.detection.detector import VideoDetector, joined_levels
from endofm.tasks.detection.head import DetectionHead
from endofm.tasks.detection.results import VideoDetections
from endofm.tasks.detection.stream import DetectionStream, FoundBoxes
from endofm.tasks.detection.supports import SupportPlan
from endofm.tasks.detection.tracks import TrackLinker
from endofm.tasks.features.model import EndoFM

if TYPE_CHECKING:
    from typing_extensions import Self

    from endofm.video.open import VideoInput


class EndoFMForDetection(Pretrained, VideoDetector):
    """Detector of objects in endoscopy video; classes, thresholds and preprocessing travel with the weights.

    Each frame is refined with what was seen in frames around it. :meth:`predict` takes any video. Not for diagnosis.

    Args:
        config: Architecture, head and preprocessing.
        provenance: Where the weights came from, as plain JSON values.

    Attributes:
        backbone: The encoder.
        head: Pyramid, first stage and refinement.

    Example:
        >>> model = EndoFMForDetection.from_pretrained("kumc.pth")  # doctest: +SKIP
        >>> found = model.predict("procedure.mp4")  # doctest: +SKIP
        >>> found[0].boxes, found[0].scores  # doctest: +SKIP
        >>> found.save("boxes.json")  # doctest: +SKIP
    """

    task = "detection"
    backbone: VideoTransformer | FrameTransformer

    def __init__(self, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        head, encoder = _head_of(config), config.encoder
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

    @classmethod
    def from_backbone(
        cls,
        source: str | Path | EndoFM,
        head: DetectionHeadConfig,
        *,
        preprocess: PreprocessConfig,
        drop_path_rate: float = 0.0,
        **options: Any,
    ) -> Self:
        """Put a new head, whose weights are random, on an encoder, to be trained.

        Args:
            source: An encoder, or where to load one from, as for :meth:`EndoFM.from_pretrained`; the encoder of a
                detector or classifier is taken as well.
            head: What to put on it.
            preprocess: How whole frames become the input.
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
            preprocess=preprocess,
            name="",
            trained=False,
        )
        model = cls(config, provenance=encoder.provenance)
        model.backbone.load_state_dict(encoder.state_dict())
        return model.to(device=encoder.pos_embed.device, dtype=encoder.pos_embed.dtype).eval()

    @property
    def head_config(self) -> DetectionHeadConfig:
        """Classes, supports and thresholds."""
        return _head_of(self.config)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.head_config.labels

    def predict(self, video: VideoInput, *, progress: bool = True, **options: Any) -> VideoDetections:
        """Find objects in every frame of a video.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`.
            progress: Show a progress bar on a terminal.
            **options: Those of :meth:`stream`.

        Returns:
            Boxes of every frame with its time, in pixels of the source frame, linked into tracks.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
            EncoderOutputError: If the network gives values that are not numbers.
        """
        from endofm.progress import progress_bar

        with self.stream(video, **options) as stream:
            source = stream.source
            announced = source.metadata.num_frames
            total = None if announced is None else -(-announced // stream.every)
            frames = []
            name = Path(source.metadata.name).name
            with progress_bar(total=total, description=name, unit="frame", disable=not progress) as bar:
                for frame in stream:
                    frames.append(frame)
                    bar.update()
            return VideoDetections(
                tuple(frames),
                self.labels,
                source.metadata.width,
                source.metadata.height,
                stream.provenance(self.weights_provenance()),
            )

    @contextmanager
    def stream(
        self,
        video: VideoInput,
        *,
        min_score: float = 0.5,
        online: bool = False,
        every: int = 1,
        supports: SupportPlan | None = None,
        clip_frames: int | None = None,
        link: bool = True,
        batch_size: int = 2,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
    ) -> Iterator[DetectionStream]:
        """Open a video and give a stream of its boxes; use it in a ``with`` statement and iterate over it once.

        Args:
            video: As for :meth:`predict`.
            min_score: Smallest score of a box.
            online: Use no later frames: each frame is answered before the next one is read. By default a frame waits
                for the ``support_reach`` frames behind it.
            every: Take every n-th frame of the video; supports are counted among those taken.
            supports: Which frames support which, as the weights' configuration says by default.
            clip_frames: Successive frames that the encoder looks at together, likewise.
            link: Link boxes into tracks by their overlap (:class:`~endofm.tasks.detection.tracks.TrackLinker`).
            batch_size: Clips of frames per look.
            device: Move the model there first; where it is by default.
            precision: Switch the model to it first, as in :meth:`from_pretrained`; what it has by default.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; as the weights'
                preprocessing says by default.

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
        session = self._session(video, device=device, precision=precision, fps=fps, field_of_view=field_of_view)
        with session as (source, processor):
            yield DetectionStream(
                self,
                source,
                processor,
                plan=plan,
                device=self.device,
                precision=self.precision,
                batch_size=batch_size,
                clip_frames=head.clip_frames if clip_frames is None else clip_frames,
                every=every,
                min_score=min_score,
                last_pixel_inside=head.last_pixel_inside,
                linker=TrackLinker() if link else None,
            )

    def support_plan(self) -> SupportPlan:
        """Return which frames support which by the weights' configuration."""
        head = self.head_config
        return SupportPlan(pattern=head.supports, count=head.num_supports, reach=head.support_reach)

    def look_at_frames(self, clips: Tensor) -> list[list[Level]]:
        """Look at frames; the first half of a detection.

        Args:
            clips: ``(batch, 3, time, height, width)``, normalised as the weights' preprocessing says.

        Returns:
            What was seen in each frame, clip by clip, to be handed to :meth:`find_boxes`.

        Raises:
            EncoderOutputError: If the values are not numbers.
        """
        tokens = self.tokens(clips)
        with self._head_arithmetic(tokens):
            levels = self.head.look(tokens)
        if not all(level.logits.isfinite().all() and level.boxes.isfinite().all() for level in levels):
            raise EncoderOutputError(
                "the detector gave values that are not numbers. Its weights are damaged, or do not bear this "
                "precision: check the file of the weights, or use float32"
            )
        return [[level.take(i) for level in levels] for i in range(len(levels[0].logits))]

    def find_boxes(self, target: list[Level], supports: list[list[Level]], size: tuple[int, int]) -> FoundBoxes:
        """Refine one frame and decode it; the second half of a detection.

        Args:
            target: What was seen in the frame.
            supports: What was seen in others; any number of them, also none.
            size: Height and width of the part of the network's input that shows the frame; boxes end there.
        """
        others = joined_levels(supports) if supports else [level.take(slice(0, 0)) for level in target]
        head = self.head_config
        rim = int(head.last_pixel_inside)
        with self._head_arithmetic(target[0].boxes):
            refined = self.refine(target, others)
        found = decode(
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
        return FoundBoxes(found.boxes.cpu(), found.scores.cpu(), found.labels.cpu() - 1)

    def _head_arithmetic(self, x: Tensor) -> torch.autocast:
        """Let convolutions follow the precision of the encoder, which sees to its own."""
        return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    @classmethod
    def _hint_for(cls, task: str) -> str:
        if task != "features":
            return ""
        return "To train a detector on it: EndoFMForDetection.from_backbone, or `endofm finetune detection`."

    def _untrained_words(self) -> str:
        return "this detector was not trained: its boxes mean nothing"


def _head_of(config: ModelConfig) -> DetectionHeadConfig:
    if not isinstance(config.head, DetectionHeadConfig):
        raise ConfigError(
            f"EndoFMForDetection needs a configuration with a head of DetectionHeadConfig, got {config.head!r}"
        )
    return config.head
