"""``load_encoder`` and ``EndoFM``: encoders with weights and preprocessing, and features of any video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from endofm.config import EncoderConfig, ModelConfig
from endofm.errors import ConfigError, InputError
from endofm.hub.task_layout import check_tensors
from endofm.kernels.precision import Precision
from endofm.models.call_view import precision_in_use
from endofm.models.encoder import ClipEncoder, VideoTransformer
from endofm.models.pretrained import Pretrained
from endofm.outputs import EncoderOutput

if TYPE_CHECKING:
    from typing_extensions import Self

    from endofm.hub.resolve import LoadedWeights
    from endofm.progress import Progress
    from endofm.tasks.features.clip_stream import ClipStream
    from endofm.tasks.features.live import LiveFeatures
    from endofm.tasks.features.results import FeatureLevel, VideoFeatures
    from endofm.tasks.features.stream import FeatureStream, PlannedClips
    from endofm.transforms.geometry import Box
    from endofm.video.open import Decoder, VideoInput

_BACKBONE = "backbone."
"""Prefix of the encoder's tensors in a model with a head."""


class VideoEncoder(Pretrained):
    """Encoder of any kind with weights and preprocessing; what :func:`load_encoder` returns.

    As a module it embeds prepared clips: ``model(clip)`` returns the clip embedding, ``model.forward_features(clip)``
    the patch tokens on their grid as well. Each kind of network has its own subclass, made on first use.

    Attributes:
        config: The :class:`~endofm.config.ModelConfig` that the model was built from.
        processor: Maps frames to clips for these weights.
        provenance: Origin of the weights.
        embed_dim: Width of embeddings and tokens.
        patch_size: Side in pixels of what a patch token stands for.
        num_frames: Frames per clip.
        tubelet_size: Frames that a step of the patch tokens' time axis stands for.
    """

    task = "features"
    embed_dim: int
    patch_size: int
    num_frames: int
    tubelet_size: int

    def forward_features(self, clip: Tensor) -> EncoderOutput:
        """Embed clips and keep the patch tokens on their grid; the network's own method."""
        raise NotImplementedError

    @classmethod
    def class_for(cls, config: ModelConfig) -> type[Self]:
        """Return ``EndoFM``, or the class for another kind of network."""
        encoder = config.encoder
        if isinstance(encoder, EncoderConfig) and encoder.attention_type == "divided_space_time":
            return EndoFM  # type: ignore[return-value]
        from endofm.models.build import network_class

        return _with_weights(network_class(encoder))  # type: ignore[return-value, arg-type]

    @classmethod
    def loading_class(cls) -> type[Pretrained]:
        """Return the class that loads encoders of every kind."""
        return VideoEncoder

    @classmethod
    def _convert(cls, loaded: LoadedWeights) -> LoadedWeights:
        """Return the encoder of a model with a head, if it is a complete one."""
        tensors, config = loaded.state_dict or {}, replace(loaded.config, head=None)
        encoder = {name.removeprefix(_BACKBONE): t for name, t in tensors.items() if name.startswith(_BACKBONE)}
        # The head's preprocessing stays: the encoder was fine-tuned on frames prepared this way.
        # Parts of the published segmentation network's encoder are in its head, so that it is no complete encoder.
        if set(encoder) != set(VideoEncoder.shell(config).state_dict()):
            return super()._convert(loaded)
        check_tensors(loaded.config, tensors, source=loaded.provenance.get("source", "weights"))
        return replace(loaded, config=config, state_dict=encoder)

    def extract_features(
        self,
        video: VideoInput,
        *,
        level: FeatureLevel = "clip",
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
        progress: Progress = True,
    ) -> VideoFeatures:
        """Embed a whole video, window by window.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`.
            level: ``"clip"`` for one embedding per window, ``"frame"`` to add one per frame, ``"patch"`` to add the
                patch tokens.
            window_seconds: Length of a window; by default that of the weights' preprocessing.
            hop_seconds: Step between windows; by default the length of a window.
            frame_stride: Take every n-th source frame instead: a window is ``num_frames`` such frames.
            hop_frames: Step between those windows in source frames; by default the length of a window.
            batch_size: Clips per forward pass.
            device: Device of this call; by default that of the model, which stays where it is.
            precision: Precision of this call, as in :meth:`from_pretrained`; by default that of the model.
            fps: Frame rate of sources that have none (folders, arrays, images).
            decoder: Decoder of a video file: ``"pyav"``, or ``"torchcodec"``, which decodes on the model's device, on a
                GPU in hardware.
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; by default as
                the weights' preprocessing specifies.
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

        Returns:
            Embeddings with their times.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        (features,) = extract_features(
            video,
            [self],
            level=level,
            window_seconds=window_seconds,
            hop_seconds=hop_seconds,
            frame_stride=frame_stride,
            hop_frames=hop_frames,
            batch_size=batch_size,
            device=device,
            precision=precision,
            fps=fps,
            decoder=decoder,
            field_of_view=field_of_view,
            progress=progress,
        )
        return features

    def stream_features(
        self, video: VideoInput, *, level: FeatureLevel = "clip", progress: Progress = False, **options: Any
    ) -> ClipStream:
        """Embed a video and return the clips one by one, as soon as they are ready.

        The numbers are those of :meth:`extract_features`, and memory does not grow with the video.

        Args:
            video: As for :meth:`extract_features`.
            level: As there.
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).
            **options: The other options of :meth:`extract_features`. ``batch_size`` clips become ready together: 1
                gives the shortest delay.

        Returns:
            An iterator over :class:`~endofm.tasks.features.results.ClipFeatures`. It ends early by leaving the loop,
            by its ``close()``, or by its ``cancel()`` from another thread.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.

        Example:
            >>> for clip in model.stream_features("procedure.mp4"):  # doctest: +SKIP
            ...     print(clip.start_seconds, clip.embedding.shape)
        """
        from endofm.tasks.features.clip_stream import ClipStream

        with ExitStack() as stack:
            (stream,) = open_streams(stack, video, [self], level=level, **options)
            return ClipStream(stream, self.weights_provenance(), stack.pop_all(), progress=progress)

    def live(self, *, box: Box | None = None) -> LiveFeatures:
        """Return an object that embeds the frames of a recording as they come, in constant memory.

        Its numbers are those of a clip of all frames so far. It needs a causal encoder: EndoMamba or FPRL.

        Args:
            box: Part of the frames to use, from ``processor.find_field_of_view``; the full frames if None.

        Raises:
            InputError: If the encoder is not causal.

        Example:
            >>> live = load_encoder("endomamba-tiny-random").live()  # doctest: +SKIP
            >>> live(frame).embedding.shape  # doctest: +SKIP
            torch.Size([64])
        """
        from endofm.tasks.features.live import LiveFeatures

        return LiveFeatures(self, box=box)

    def _encode(self, clips: Tensor, *, level: str) -> EncoderOutput:
        # At level "clip" the last block computes the class token alone, which is cheaper.
        return EncoderOutput(self(clips), None) if level == "clip" else self.forward_features(clips)


class EndoFM(VideoTransformer, VideoEncoder):
    """Video encoder with weights and preprocessing.

    As a module it is the encoder (``model(clip)`` embeds prepared clips); :meth:`extract_features` takes any video.
    :meth:`from_pretrained` also accepts the weights of a fine-tuned model that contains a complete encoder (a
    classifier); its head is dropped, and its preprocessing is kept.

    Args:
        config: Architecture and preprocessing.
        provenance: Origin of the weights, as plain JSON values; stored with the features.

    Attributes:
        config: The :class:`~endofm.config.ModelConfig` that the model was built from.
        processor: Maps frames to clips for these weights.
        provenance: Origin of the weights.

    Example:
        >>> model = EndoFM.from_pretrained("endofm-tiny-8x224-random")  # doctest: +SKIP
        >>> features = model.extract_features("procedure.mp4")  # doctest: +SKIP
        >>> features.embeddings.shape, features.start_seconds[:2]  # doctest: +SKIP
        ((24, 192), array([0., 5.]))
    """

    def __init__(self, config: ModelConfig | None = None, *, provenance: Mapping[str, Any] | None = None) -> None:
        config = config or ModelConfig(trained=False)
        encoder = config.encoder
        if not isinstance(encoder, EncoderConfig):
            raise ConfigError(f"EndoFM is a divided space-time transformer, not {encoder.describe()}")
        super().__init__(encoder)
        self._describe(config, provenance)


def load_encoder(source: str | Path, **options: Any) -> VideoEncoder:
    """Load an encoder of any kind.

    Args:
        source: A registered name (``endofm models`` lists them), a Hugging Face id ``"owner/repo"``, a folder, a
            ``.safetensors`` file, a published checkpoint in its original layout, or ``"timm:NAME"`` for a model of
            timm. A fine-tuned model gives the encoder inside it.
        **options: The other arguments of :meth:`~endofm.models.pretrained.Pretrained.from_pretrained`.

    Returns:
        The encoder in evaluation mode; :class:`EndoFM` for the Endo-FM family.

    Raises:
        WeightsError: As there.

    Example:
        >>> encoder = load_encoder("endofm-nano-4x96")
        >>> encoder.embed_dim, encoder.patch_size, encoder.num_frames
        (192, 16, 4)
    """
    return VideoEncoder.from_pretrained(source, **options)


def extract_features(
    video: VideoInput,
    encoders: Sequence[VideoEncoder],
    *,
    level: FeatureLevel = "clip",
    batch_size: int = 4,
    device: str | torch.device | None = None,
    precision: Precision | Literal["auto"] | None = None,
    fps: float | None = None,
    decoder: Decoder = "pyav",
    field_of_view: bool | None = None,
    progress: Progress = True,
    **windows: Any,
) -> list[VideoFeatures]:
    """Embed a whole video with several encoders in one pass.

    Every frame is decoded once, and resized once for each size and way of resizing. Each encoder keeps its own windows,
    and its features are those of :meth:`VideoEncoder.extract_features`, bit for bit, unless the video is damaged: how a
    decoder recovers may depend on the frames that are asked for. Memory is that of all encoders together.

    Args:
        video: As there.
        encoders: Encoders of any kinds.
        level: As there, like the arguments that follow.
        batch_size: Clips per forward pass.
        device: Device of this call; by default that of each model.
        precision: Precision of this call; by default that of each model.
        fps: Frame rate of sources that have none.
        decoder: Decoder of a video file.
        field_of_view: Crop to the endoscope's image; by default as the preprocessing of each model specifies.
        progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).
        **windows: ``window_seconds``, ``hop_seconds``, ``frame_stride`` and ``hop_frames``, for all encoders; by
            default each has the windows of its preprocessing.

    Returns:
        Features of each encoder, in order.

    Raises:
        VideoError: If the video cannot be read.
        InputError: If an argument is not valid.
        EncoderOutputError: If an encoder returns NaN or infinite values.

    Example:
        >>> encoders = [load_encoder("endofm-nano-4x96"), load_encoder("endofm-tiny-8x224-random")]  # doctest: +SKIP
        >>> nano, tiny = extract_features("procedure.mp4", encoders)  # doctest: +SKIP
    """
    from endofm.tasks.features.stream import collect_together

    if not encoders:
        raise InputError("no encoders given; load at least one with endofm.load_encoder")
    with ExitStack() as stack:
        streams = open_streams(
            stack,
            video,
            encoders,
            level=level,
            batch_size=batch_size,
            device=device,
            precision=precision,
            field_of_view=field_of_view,
            fps=fps,
            decoder=decoder,
            **windows,
        )
        return collect_together(streams, [encoder.weights_provenance() for encoder in encoders], progress=progress)


def open_streams(
    stack: ExitStack,
    video: VideoInput,
    encoders: Sequence[VideoEncoder],
    *,
    level: FeatureLevel = "clip",
    batch_size: int = 4,
    device: str | torch.device | None = None,
    precision: Precision | Literal["auto"] | None = None,
    field_of_view: bool | None = None,
    fps: float | None = None,
    decoder: Decoder = "pyav",
    planned: Sequence[PlannedClips] | None = None,
    **windows: Any,
) -> list[FeatureStream]:
    """Return a stream of one video for each encoder; ``stack`` closes what they need.

    ``planned`` has the clips for each encoder if they are known already. The other arguments are those of
    :func:`extract_features`.
    """
    from endofm.inference.streaming import SharedFrames
    from endofm.tasks.features.stream import FeatureStream
    from endofm.video.clip_windows import WindowSettings

    opening: dict[str, Any] = {"fps": fps, "decoder": decoder}
    frames, streams = SharedFrames(), list[FeatureStream]()
    for encoder in encoders:
        session = encoder._session(video, device=device, precision=precision, field_of_view=field_of_view, **opening)
        model, source, processor = stack.enter_context(session)
        # The first session opens the video and closes it; the others read the open one.
        video, opening = source, {}
        streams.append(
            FeatureStream(
                model._encode,
                source,
                processor,
                WindowSettings.for_preprocess(processor.config, **windows),
                level=level,
                batch_size=batch_size,
                device=model.device,
                precision=precision_in_use(model),
                tubelet_size=encoder.tubelet_size,
                frames=frames,
                planned=planned[len(streams)] if planned else None,
            )
        )
    return streams


@cache
def _with_weights(network: type[ClipEncoder]) -> type[VideoEncoder]:
    """Return a network's class with weights and preprocessing, as ``EndoFM`` is that of ``VideoTransformer``."""

    def build(self: Any, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        network.__init__(self, config.encoder)
        self._describe(config, provenance)

    body = {"__init__": build, "__doc__": network.__doc__, "__module__": network.__module__}
    return type(f"Pretrained{network.__name__}", (network, VideoEncoder), body)
