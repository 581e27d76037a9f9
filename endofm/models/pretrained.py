"""Base of the public model classes: loading, saving, uploading and provenance of weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from endofm.config import BaseEncoderConfig, ModelConfig
from endofm.errors import CheckpointFormatError, ConfigError, UntrainedWeightsWarning, cause, quoted
from endofm.kernels.precision import Precision, resolve_precision, usable_device
from endofm.models.build import build_encoder
from endofm.models.call_view import precision_in_use, view_for_call
from endofm.progress import timed_event
from endofm.task_table import FEATURES, get_task
from endofm.transforms.processor import Processor

if TYPE_CHECKING:
    from typing_extensions import Self

    from endofm.hub.resolve import LoadedWeights
    from endofm.models.encoder import Transformer
    from endofm.video.frames import VideoSource
    from endofm.video.open import Decoder, VideoInput


_log = logging.getLogger(__name__)


class Pretrained(nn.Module):
    """Base of the public model classes.

    A subclass sets :attr:`task` and accepts ``(config, *, provenance)`` in its constructor, which calls
    :meth:`_describe` first.

    Attributes:
        task: Name of the task, as in ``config.json``.
        config: The :class:`~endofm.config.ModelConfig` that the model was built from.
        processor: Preprocessing of these weights, from frames to a clip.
        provenance: Origin of the weights.
    """

    task: str
    config: ModelConfig
    processor: Processor
    provenance: dict[str, Any]
    backbone: Transformer  # of a model with a head; EndoFM is the transformer itself

    def _describe(self, config: ModelConfig, provenance: Mapping[str, Any] | None) -> None:
        """Store configuration, preprocessing and provenance; called in a constructor after ``super().__init__``.

        Raises:
            ConfigError: If the configuration is of another task.
        """
        if config.task != self.task:
            head_config = get_task(self.task).load("head_config")
            needed = head_config.__name__ if head_config else "None"
            raise ConfigError(
                f"{type(self).__name__} needs a configuration with a head of {needed}, got {quoted(config.head)}"
            )
        self.config = config
        self.processor = Processor(config.preprocess)
        self.provenance = dict(provenance or {})

    def __repr__(self) -> str:
        size = f"{sum(parameter.numel() for parameter in self.parameters()) / 1e6:.1f} M parameters"
        weights = f"{self.config.name or 'no name'}{'' if self.config.trained else ', random weights'}"
        how = f"{self.precision} on {self.device}"
        return f"{type(self).__name__}({weights}; {self.config.encoder.describe()}; {size}; {how})"

    # print(model) shows all modules, as of any module of torch.
    __str__ = nn.Module.__repr__

    @property
    def precision(self) -> Precision:
        """Numeric precision of the encoder in inference; see :meth:`from_pretrained`."""
        return self.backbone.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self.backbone.precision = precision

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] = "exact",
    ) -> Self:
        """Load a model.

        Args:
            source: A registry name (``endofm models`` lists them), a Hugging Face id ``"owner/repo"`` or
                ``"owner/repo@revision"``, a folder with ``config.json`` and ``model.safetensors``, a ``.safetensors``
                file, or a published ``.pth`` checkpoint.
            revision: Branch, tag or commit of a hub repository.
            cache_dir: Folder for downloads; that of huggingface_hub by default (``HF_HOME``).
            force_download: Download again even if the file is in the cache.
            local_files_only: Do not use the network (``HF_HUB_OFFLINE=1`` has the same effect on every call).
            token: Access token for private or gated repositories; the stored one by default.
            device: Device of the model; the CPU by default.
            precision: Numeric precision of the encoder in inference: ``"exact"`` (float32), ``"bfloat16"`` (faster on
                processors and GPUs that support it, slightly inexact), ``"int8"`` (CPU only, fastest there, less exact:
                compare first), or ``"auto"``: bfloat16 on a GPU that supports it, exact elsewhere. A precision that
                would be no faster than exact here is replaced by exact, with a warning. Parameters stay float32;
                ``model.precision`` reads and changes the setting.

        Returns:
            The model in evaluation mode. Every tensor of the file was used and every parameter was filled.

        Raises:
            WeightsError: If the weights cannot be found, downloaded, verified or safely read, do not fit the model or
                belong to another task; :mod:`endofm.errors` has a subclass for each case.
            ConfigError: If the configuration of the weights is not valid.
            InputError: If the device or precision is unavailable.

        Warns:
            UntrainedWeightsWarning: If the weights are random.
        """
        from endofm.hub.resolve import load_weights

        # Before the download, which may take minutes.
        resolve_precision(precision, usable_device(device))
        loaded = load_weights(
            source,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cls.from_loaded(loaded, device=device, precision=precision)

    @classmethod
    def from_loaded(
        cls,
        loaded: LoadedWeights,
        *,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] = "exact",
    ) -> Self:
        """Build the model from the result of :func:`~endofm.hub.resolve.load_weights`.

        Result, errors and warnings are those of :meth:`from_pretrained`, which most programs should use.
        """
        target = usable_device(device)
        precision = resolve_precision(precision, target)
        if loaded.config.task != cls.task:
            loaded = cls._convert(loaded)
        config, provenance = loaded.config, loaded.provenance
        network = cls.class_for(config)
        if not issubclass(network, cls):
            raise CheckpointFormatError(
                f"{provenance.get('source', 'these weights')}: this is {config.encoder.describe()}, no {cls.__name__}; "
                "load it with endofm.load_encoder"
            )
        if loaded.state_dict is None:
            assert loaded.record is not None
            assert loaded.record.random_seed is not None
            # The caller's random numbers are the same whether or not a model is loaded between them.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(loaded.record.random_seed)
                model = network(config, provenance=provenance)
        else:
            source = provenance.get("file", provenance.get("source", "weights"))
            model = network._checked_shell(config, loaded.state_dict, source)
            model.provenance = dict(provenance)
            if model._has_unsaved_buffers():
                # Buffers that no file holds are computed by the constructor, which needs memory for them.
                model = network(config, provenance=provenance)
            # The shell has no memory; assigning the file's tensors avoids initialising weights only to replace them.
            model.load_state_dict(loaded.state_dict, strict=True, assign=True)
        if not config.trained:
            warnings.warn(
                f"{config.name or provenance.get('source', 'this model')}: {model._untrained_words()}",
                UntrainedWeightsWarning,
                stacklevel=3,
            )
        model = model.to(device=target, dtype=torch.float32).eval()
        model.precision = precision
        return model

    @classmethod
    def check_tensors(cls, config: ModelConfig, state_dict: Mapping[str, Tensor], *, source: str) -> None:
        """Raise unless tensors are exactly those of the model that a configuration describes.

        Args:
            config: Configuration.
            state_dict: Tensors by name.
            source: Name of the file, for messages.

        Raises:
            StateDictError: Naming the first few tensors that are missing, unexpected or of another shape.
        """
        cls._checked_shell(config, state_dict, source)

    @classmethod
    def shell(cls, config: ModelConfig) -> Self:
        """Return the model on the ``meta`` device, without memory; raise ConfigError if no such model can exist."""
        try:
            with torch.device("meta"):
                return cls.class_for(config)(config)
        except (RuntimeError, OverflowError) as error:
            # Sizes that are acceptable one by one can have a product beyond 64 bits.
            raise ConfigError(f"no network of this size can be built ({cause(error)})") from error

    @classmethod
    def class_for(cls, config: ModelConfig) -> type[Self]:
        """Return the class of the model that a configuration describes: this one, or one for its kind of encoder."""
        return cls

    @classmethod
    def loading_class(cls) -> type[Pretrained]:
        """Return the class whose :meth:`from_pretrained` takes every model of the task."""
        return cls

    @staticmethod
    def count_parameters(encoder: BaseEncoderConfig) -> int:
        """Return the number of parameters of an encoder."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build_encoder(encoder).parameters())

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors``, ``config.json`` and a model card, readable by :meth:`from_pretrained`.

        Args:
            folder: Folder to create or to write to; other files in it are kept.

        Returns:
            The folder.

        Raises:
            StateDictError: If the model is no longer what its configuration describes. Nothing is written.
        """
        from endofm.hub.model_folder import save_folder

        return save_folder(folder, config=self.config, state_dict=self.state_dict(), provenance=self.provenance)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        accept_license: str | None = None,
    ) -> str:
        """Upload the folder of :meth:`save_pretrained` to a Hugging Face repository, which is created if missing.

        Args:
            repo_id: ``"owner/repo"``.
            token: Access token with the right to write; the stored one by default.
            private: Make a new repository private.
            revision: Branch to commit to.
            commit_message: First line of the commit.
            accept_license: Identifier of the weights' licence, to be stated if it does not allow every use.

        Returns:
            Address of the commit.

        Raises:
            DownloadError: If the hub refuses or cannot be reached.
            StateDictError: If the model is no longer what its configuration describes.
        """
        from endofm.hub.upload import push_to_hub

        return push_to_hub(
            repo_id,
            config=self.config,
            state_dict=self.state_dict(),
            provenance=self.provenance,
            token=token,
            private=private,
            revision=revision,
            commit_message=commit_message,
            accept_license=accept_license,
        )

    def weights_provenance(self) -> dict[str, Any]:
        """Return the provenance that results carry: without the folders of this machine, with the configuration."""
        shared = dict(self.provenance)
        for key in ("file", "source"):
            # A source that is no path here is a registered name or a repository, and is kept in full.
            if key in shared and (key == "file" or Path(shared[key]).exists()):
                shared[key] = Path(shared[key]).name
        return {**shared, "config": self.config.to_dict()}

    @contextmanager
    def _session(
        self,
        video: VideoInput,
        *,
        device: str | torch.device | None = None,
        precision: Precision | Literal["auto"] | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
        decoder: Decoder = "pyav",
    ) -> Iterator[tuple[Self, VideoSource, Processor]]:
        """Open a video for one call; the options that all tasks share.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`, which stays open afterwards.
            device: Device of this call; by default that of the model, which stays where it is.
            precision: Precision of this call, as in :meth:`from_pretrained`; by default that of the model.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; by default as the
                weights' preprocessing says.
            decoder: Decoder of video files; ``"torchcodec"`` decodes on the model's device.

        Yields:
            The model with the settings of the call, the open video, and the processor that prepares its frames.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an option is not valid.
        """
        from endofm.video.open import open_video

        target = self.device if device is None else usable_device(device)
        model = view_for_call(self, target, resolve_precision(precision or self.precision, target))
        processor = self.processor
        if field_of_view is not None:
            processor = Processor(replace(processor.config, field_of_view=field_of_view))
        name = Path(video).name if isinstance(video, (str, Path)) else type(video).__name__
        facts = {"name": name, "task": self.task, "weights": self.config.name, "device": str(model.device)}
        with timed_event(_log, "video", **facts, precision=precision_in_use(model)) as event:
            source = open_video(video, fps=fps, decoder=decoder, device=str(model.device))
            event["name"] = Path(source.metadata.name).name
            # A source that the caller opened is the caller's to close.
            with nullcontext(source) if source is video else source:
                yield model, source, processor
                event["problems"] = len(source.problems)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return next(self.parameters()).dtype

    @classmethod
    def _convert(cls, loaded: LoadedWeights) -> LoadedWeights:
        """Return weights of another task as weights of this one, if they hold every tensor of it.

        Raises:
            CheckpointFormatError: If they do not.
        """
        task, source = loaded.config.task, loaded.provenance.get("source", "these weights")
        kind = "an encoder without a head" if task == FEATURES else f"a {task} model"
        model_class = get_task(task).model_class
        message = f"{source}: this is {kind}; load it with {model_class}.from_pretrained. {cls._hint_for(task)}"
        raise CheckpointFormatError(message.strip())

    @classmethod
    def _hint_for(cls, task: str) -> str:
        """Return advice for users of another task's weights, a sentence or nothing."""
        return ""

    def _untrained_words(self) -> str:
        """Return the text of the warning about random weights."""
        return "these weights are random and untrained: features computed with them mean nothing"

    @classmethod
    def _checked_shell(cls, config: ModelConfig, state_dict: Mapping[str, Tensor], source: str) -> Self:
        """Return the :meth:`shell` after checking that the tensors are those of the model."""
        from endofm.hub.model_folder import check_state_dict

        shell = cls.shell(config)
        check_state_dict(shell.state_dict(), state_dict, source=source, model=_description(config))
        return shell

    def _has_unsaved_buffers(self) -> bool:
        """Return whether there are buffers that are not part of the state dict."""
        saved = set(self.state_dict())
        return any(name not in saved for name, _ in self.named_buffers())


def _description(config: ModelConfig) -> str:
    """Return a description of the model for messages, such as "an encoder of width 768 with 12 blocks"."""
    encoder = f"an encoder ({config.encoder.describe()})"
    return f"a {config.task} model of {config.head.num_classes} classes on {encoder}" if config.head else encoder
