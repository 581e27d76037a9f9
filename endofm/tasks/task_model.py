"""Base of the models with a head: labels, prediction on a video, and a new head on a pre-trained encoder."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from endofm.config import HeadConfig, ModelConfig, PreprocessConfig
from endofm.hub.tensor_file import unwrapped
from endofm.models.pretrained import Pretrained
from endofm.tasks.features.model import VideoEncoder, load_encoder

if TYPE_CHECKING:
    from typing_extensions import Self

    from endofm.progress import Progress
    from endofm.video.open import VideoInput

Head = TypeVar("Head", bound=HeadConfig)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class CollectableStream(Protocol[Result_co]):
    """Any pass over a video that can be run to its end."""

    def collect(self, *, progress: Progress = True) -> Result_co:
        """Return the result of the whole video."""


class TaskModel(Pretrained, Generic[Head, Result]):
    """A pre-trained model with a head.

    A subclass states its :attr:`task` and :attr:`output_noun`, has a ``backbone`` whose parameters carry the encoder's
    names, implements ``forward`` and :meth:`stream`, and may override :meth:`default_preprocess`.

    Attributes:
        output_noun: Plural noun for the outputs, for messages: ``"masks"``.
    """

    output_noun: ClassVar[str]

    @property
    def head_config(self) -> Head:
        """Configuration of the head."""
        # The constructor has checked that the head belongs to this task.
        return cast("Head", self.config.head)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the order of the outputs."""
        return self.head_config.labels

    def predict(self, video: VideoInput, *, progress: Progress = True, **options: Any) -> Result:
        """Process a whole video in bounded memory.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`.
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).
            **options: Options of :meth:`stream`.

        Returns:
            The result of the whole video, with times. Not for diagnosis.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an option is not valid.
            EncoderOutputError: If the network returns values that are not finite.
        """
        with self.stream(video, **options) as stream:
            return stream.collect(progress=progress)

    @abstractmethod
    def stream(self, *args: Any, **kwargs: Any) -> AbstractContextManager[CollectableStream[Result]]:
        """Open a video and return a stream over it, to be used in a ``with`` statement.

        Subclasses take ``(video, *, ...)`` with the options of their task, and ``device``, ``precision``, ``fps`` and
        ``field_of_view`` as in every task.
        """

    @classmethod
    def from_backbone(
        cls,
        source: str | Path | VideoEncoder,
        head: Head,
        *,
        preprocess: PreprocessConfig | None = None,
        drop_path_rate: float = 0.0,
        **options: Any,
    ) -> Self:
        """Put a new, randomly initialised head on a pre-trained encoder, to be trained.

        Args:
            source: An encoder, or where to load one from, as for :func:`~endofm.load_encoder`; a model of another
                task is accepted if it contains a complete encoder.
            head: Configuration of the head.
            preprocess: Preprocessing of frames; :meth:`default_preprocess` by default.
            drop_path_rate: Stochastic depth in training; 0.1 in the published code.
            **options: Further arguments of :func:`~endofm.load_encoder`.

        Returns:
            The model in evaluation mode; ``config.trained`` is false until it is trained.

        Raises:
            WeightsError: If the encoder cannot be loaded.
            ConfigError: If the head is of another task or does not fit the encoder.
        """
        encoder = source if isinstance(source, VideoEncoder) else load_encoder(source, **options)
        config = replace(
            encoder.config,
            encoder=replace(encoder.config.encoder, drop_path_rate=drop_path_rate),
            preprocess=preprocess or cls.default_preprocess(encoder.config),
            head=head,
            name="",
            trained=False,
        )
        model = cls(config, provenance=encoder.provenance)
        backbone = model.get_submodule("backbone")
        # A backbone may use part of the encoder only (the hybrid segmentation network has no patch embedding); strict
        # loading still reports a parameter of the backbone that the encoder does not have.
        names = backbone.state_dict().keys()
        tensors = unwrapped(encoder.state_dict(), "the encoder")
        backbone.load_state_dict({name: tensor for name, tensor in tensors.items() if name in names})
        return model.to(device=encoder.device, dtype=encoder.dtype).eval()

    @classmethod
    def default_preprocess(cls, config: ModelConfig) -> PreprocessConfig:
        """Return the preprocessing of a new model on an encoder with this configuration; the encoder's own here."""
        return config.preprocess

    @classmethod
    def _hint_for(cls, task: str) -> str:
        if task != "features":
            return ""
        return f"To train a head on it: {cls.__name__}.from_backbone, or `endofm finetune {cls.task}`."

    def _untrained_words(self) -> str:
        return f"this {self.task} model was not trained: its {self.output_noun} mean nothing"
