"""What every public model class shares: loading, saving, uploading, and where its weights came from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from endofm.config import ModelConfig
from endofm.errors import CheckpointFormatError, ConfigError, InputError, UntrainedWeightsWarning
from endofm.kernels.precision import Precision, resolve_precision
from endofm.task_table import get_task
from endofm.transforms.processor import Processor

if TYPE_CHECKING:
    from typing_extensions import Self

    from endofm.hub.resolve import LoadedWeights
    from endofm.models.encoder import Transformer
    from endofm.video.frames import VideoSource
    from endofm.video.open import Decoder, VideoInput


class Pretrained(nn.Module):
    """Base of the public model classes.

    A subclass states its :attr:`task`, takes ``(config, *, provenance)`` in its constructor, where it calls
    :meth:`_describe`, and gets everything between a name and a loaded model.

    Attributes:
        task: Name of the task, as ``config.json`` has it.
        config: The :class:`~endofm.config.ModelConfig` that the model was built from.
        processor: The only way from frames to a clip for these weights.
        provenance: Where the weights came from.
    """

    task: str
    config: ModelConfig
    processor: Processor
    provenance: dict[str, Any]
    backbone: Transformer  # of a model with a head; EndoFM is the transformer itself

    def _describe(self, config: ModelConfig, provenance: Mapping[str, Any] | None) -> None:
        """Keep what the model was built from; the first step of a constructor after ``super().__init__``.

        Raises:
            ConfigError: If the configuration is of another task.
        """
        if config.task != self.task:
            head_config = get_task(self.task).load("head_config")
            needed = head_config.__name__ if head_config else "None"
            raise ConfigError(
                f"{type(self).__name__} needs a configuration with a head of {needed}, got {config.head!r}"
            )
        self.config = config
        self.processor = Processor(config.preprocess)
        self.provenance = dict(provenance or {})

    @property
    def precision(self) -> Precision:
        """How exactly the encoder computes in inference; see :meth:`from_pretrained`."""
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
                file, or an original ``.pth`` checkpoint.
            revision: Branch, tag or commit of a hub repository.
            cache_dir: Where downloads are kept; by default where huggingface_hub keeps them (``HF_HOME``).
            force_download: Fetch again what is in the cache.
            local_files_only: Never touch the network (``HF_HUB_OFFLINE=1`` does the same for everything).
            token: Access token for private or gated repositories; by default the one that is logged in.
            device: Where to put the model; the CPU by default.
            precision: How exactly the encoder computes in inference: ``"exact"`` (float32), ``"bfloat16"`` (faster on
                processors and GPUs that have it, slightly inexact), ``"int8"`` (CPU only, fastest there, less exact:
                compare first), or ``"auto"``: bfloat16 on a GPU that has it, exact elsewhere. Parameters stay
                float32; ``model.precision`` tells, and switches.

        Returns:
            The model in evaluation mode. Every tensor of the file was used and every parameter was filled.

        Raises:
            WeightsError: If the weights cannot be found, fetched, verified, safely read, do not fit or are those of
                another task; the subclasses in :mod:`endofm.errors` tell which.
            ConfigError: If the configuration beside the weights is not valid.
            InputError: If the device or precision is not to be had.

        Warns:
            UntrainedWeightsWarning: If the weights are random.
        """
        from endofm.hub.resolve import load_weights

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
        """Build the model from weights that :func:`~endofm.hub.resolve.load_weights` has read.

        Returns, errors and warnings are those of :meth:`from_pretrained`, which most programs want.
        """
        target = usable_device(device)
        precision = resolve_precision(precision, target)
        if loaded.config.task != cls.task:
            loaded = cls._adopt(loaded)
        config, provenance = loaded.config, loaded.provenance
        if loaded.state_dict is None:
            assert loaded.record is not None
            assert loaded.record.random_seed is not None
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(loaded.record.random_seed)
                model = cls(config, provenance=provenance)
        else:
            where = provenance.get("file", provenance.get("source", "weights"))
            model = cls._checked_shell(config, loaded.state_dict, where)
            model.provenance = dict(provenance)
            if model._has_unsaved_buffers():
                model = cls(config, provenance=provenance)
            # The shell has no memory and is given the file's own tensors: nothing is initialised to be overwritten.
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
    def check_tensors(cls, config: ModelConfig, state_dict: Mapping[str, Tensor], *, where: str) -> None:
        """Raise unless tensors are exactly those of the model that a configuration describes.

        Raises:
            StateDictError: Naming the first few tensors that are missing, unexpected or of another shape.
        """
        cls._checked_shell(config, state_dict, where)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors``, ``config.json`` and a model card, readable by :meth:`from_pretrained`.

        Args:
            folder: Created if missing; the three files in it are replaced.

        Returns:
            The folder.

        Raises:
            StateDictError: If the model is no longer what its configuration describes. Nothing is written.
        """
        from endofm.hub.folder import save_folder

        state_dict = self.state_dict()
        self.check_tensors(self.config, state_dict, where=str(folder))
        return save_folder(folder, config=self.config, state_dict=state_dict, provenance=self.provenance)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to a Hugging Face repository, which is created if missing.

        Args:
            repo_id: ``"owner/repo"``.
            token: Access token with the right to write; by default the one that is logged in.
            private: Make a new repository private.
            revision: Branch to commit to.
            commit_message: First line of the commit.

        Returns:
            Address of the commit.

        Raises:
            DownloadError: If the hub refuses or cannot be reached.
            StateDictError: If the model is no longer what its configuration describes.
        """
        from endofm.hub.folder import push_to_hub

        state_dict = self.state_dict()
        self.check_tensors(self.config, state_dict, where=repo_id)
        return push_to_hub(
            repo_id,
            config=self.config,
            state_dict=state_dict,
            provenance=self.provenance,
            token=token,
            private=private,
            revision=revision,
            commit_message=commit_message,
        )

    def weights_provenance(self) -> dict[str, Any]:
        """Return what results say of the weights: no folders of this machine, which are nobody else's business."""
        told = {key: Path(value).name if key in ("file", "source") else value for key, value in self.provenance.items()}
        if self.provenance.get("source") and not Path(self.provenance["source"]).exists():
            told["source"] = self.provenance["source"]  # a registered name or a repository
        return {**told, "config": self.config.to_dict()}

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
    ) -> Iterator[tuple[VideoSource, Processor]]:
        """Open a video for this model; the options that all tasks share.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`, which stays open afterwards.
            device: Move the model there first; by default it stays where it is.
            precision: Switch the model to this precision first, as in :meth:`from_pretrained`.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; by default as the
                weights' preprocessing says.
            decoder: Decoder of video files; ``"torchcodec"`` decodes on the model's device.

        Yields:
            The open video, and the processor that prepares its frames.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an option is not valid.
        """
        from endofm.video.open import open_video

        if device is not None:
            self.to(usable_device(device))
        if precision is not None:
            self.precision = resolve_precision(precision, self.device)
        processor = self.processor
        if field_of_view is not None:
            processor = Processor(replace(processor.config, field_of_view=field_of_view))
        source = open_video(video, fps=fps, decoder=decoder, device=str(self.device))
        # A source that the caller opened is the caller's to close.
        with nullcontext(source) if source is video else source:
            yield source, processor

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return next(self.parameters()).dtype

    @classmethod
    def _adopt(cls, loaded: LoadedWeights) -> LoadedWeights:
        """Return weights of another task as weights of this one, if that is possible without inventing any.

        Raises:
            CheckpointFormatError: If it is not.
        """
        task, source = loaded.config.task, loaded.provenance.get("source", "these weights")
        kind = "an encoder without a head" if task == "features" else f"a {task} model"
        model_class = get_task(task).model_class
        message = f"{source}: this is {kind}; load it with {model_class}.from_pretrained. {cls._hint_for(task)}"
        raise CheckpointFormatError(message.strip())

    @classmethod
    def _hint_for(cls, task: str) -> str:
        """Return a further way for weights of another task, as a sentence, or nothing."""
        return ""

    def _untrained_words(self) -> str:
        """Return what a warning says of random weights."""
        return "these weights are random, nothing was learnt: features computed with them mean nothing"

    @classmethod
    def _checked_shell(cls, config: ModelConfig, state_dict: Mapping[str, Tensor], where: str) -> Self:
        """Return the model without memory, after checking that the tensors are its own."""
        from endofm.hub.layout import describe
        from endofm.hub.state_dict import check_shapes

        with torch.device("meta"):
            shell = cls(config)
        expected = {name: tuple(tensor.shape) for name, tensor in shell.state_dict().items()}
        check_shapes(expected, state_dict, where=where, what=describe(config))
        return shell

    def _has_unsaved_buffers(self) -> bool:
        """Whether there are buffers that no file holds, so that the constructor itself has to fill them."""
        saved = set(self.state_dict())
        return any(name not in saved for name, _ in self.named_buffers())


def load_model(source: str | Path, **options: Any) -> Pretrained:
    """Load a model of whatever task the weights are for.

    Args:
        source: As for :meth:`Pretrained.from_pretrained`.
        **options: The other arguments of that method.

    Returns:
        ``EndoFM``, ``EndoFMForVideoClassification`` or another of the public model classes.

    Raises:
        WeightsError: As there.
    """
    from endofm.hub.resolve import load_weights

    place = {key: options.pop(key) for key in ("device", "precision") if key in options}
    resolve_precision(place.get("precision", "exact"), usable_device(place.get("device")))
    loaded = load_weights(source, **options)
    return model_class(loaded.config.task).from_loaded(loaded, **place)


def model_class(task: str) -> type[Pretrained]:
    """Return the public model class of a task."""
    found: type[Pretrained] = get_task(task).load("model")
    return found


def usable_device(device: str | torch.device | None) -> torch.device:
    """Return the device, or say plainly that it is not to be had.

    Raises:
        InputError: If it is not.
    """
    try:
        target = torch.device(device or "cpu")
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {str(device)!r} cannot be used here ({reason}); `endofm doctor` lists what can"
        ) from error
    return target
