"""``EndoFM``: the encoder with its weights, its preprocessing and its way from a video to features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from endofm.config import ModelConfig
from endofm.errors import InputError, UntrainedWeightsWarning
from endofm.models.encoder import VideoTransformer
from endofm.outputs import EncoderOutput
from endofm.transforms.processor import Processor

if TYPE_CHECKING:
    from typing_extensions import Self

    from endofm.inference.features import VideoFeatures
    from endofm.video.open import VideoInput

Level = Literal["clip", "frame", "patch"]


class EndoFM(VideoTransformer):
    """Video encoder with weights and preprocessing: what users load and call.

    As a module it is the encoder (``model(clip)`` embeds prepared clips); :meth:`extract_features` takes any video.

    Args:
        config: Architecture and preprocessing.
        provenance: Where the weights came from, as plain JSON values; travels with the features.

    Attributes:
        config: The :class:`~endofm.config.ModelConfig` that the model was built from.
        processor: The only way from frames to a clip for these weights.
        provenance: Where the weights came from.

    Example:
        >>> model = EndoFM.from_pretrained("endofm-tiny-8x224-random")  # doctest: +SKIP
        >>> features = model.extract_features("procedure.mp4")  # doctest: +SKIP
        >>> features.embeddings.shape, features.start_seconds[:2]  # doctest: +SKIP
        ((24, 192), array([0., 5.]))
    """

    def __init__(self, config: ModelConfig | None = None, *, provenance: Mapping[str, Any] | None = None) -> None:
        config = config or ModelConfig(trained=False)
        super().__init__(config.encoder)
        self.config = config
        self.processor = Processor(config.preprocess)
        self.provenance: dict[str, Any] = dict(provenance or {})

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
        dtype: torch.dtype = torch.float32,
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
            dtype: Floating-point type of the parameters.

        Returns:
            The model in evaluation mode. Every tensor of the file was used and every parameter was filled.

        Raises:
            WeightsError: If the weights cannot be found, fetched, verified, safely read or do not fit; the subclasses
                in :mod:`endofm.errors` tell which.
            ConfigError: If the configuration beside the weights is not valid.
            InputError: If the device or type is not to be had.

        Warns:
            UntrainedWeightsWarning: If the weights are random.
        """
        from endofm.hub.resolve import load_weights

        target = _usable_device(device)
        if not dtype.is_floating_point:
            raise InputError(
                f"dtype must be a floating-point type such as torch.float32 or torch.bfloat16, got {dtype}"
            )
        loaded = load_weights(
            source,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        if loaded.state_dict is None:
            assert loaded.record is not None
            assert loaded.record.random_seed is not None
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(loaded.record.random_seed)
                model = cls(loaded.config, provenance=loaded.provenance)
        else:
            # Built without memory and given the file's own tensors: nothing is initialised only to be overwritten.
            with torch.device("meta"):
                model = cls(loaded.config, provenance=loaded.provenance)
            model.load_state_dict(loaded.state_dict, strict=True, assign=True)
        if not loaded.config.trained:
            warnings.warn(
                f"{loaded.config.name or source}: these weights are random, nothing was learnt: "
                f"features computed with them mean nothing",
                UntrainedWeightsWarning,
                stacklevel=2,
            )
        return model.to(device=target, dtype=dtype).eval()

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors``, ``config.json`` and a model card, readable by :meth:`from_pretrained`.

        Args:
            folder: Created if missing; the three files in it are replaced.

        Returns:
            The folder.
        """
        from endofm.hub.folder import save_folder

        return save_folder(folder, config=self.config, state_dict=self.state_dict(), provenance=self.provenance)

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
        """
        from endofm.hub.folder import push_to_hub

        return push_to_hub(
            repo_id,
            config=self.config,
            state_dict=self.state_dict(),
            provenance=self.provenance,
            token=token,
            private=private,
            revision=revision,
            commit_message=commit_message,
        )

    def extract_features(
        self,
        video: VideoInput,
        *,
        level: Level = "clip",
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        frame_stride: int | None = None,
        hop_frames: int | None = None,
        batch_size: int = 4,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        fps: float | None = None,
        field_of_view: bool | None = None,
        progress: bool = True,
    ) -> VideoFeatures:
        """Embed a whole video, window by window.

        Args:
            video: A path, bytes, a binary file, a folder of frames, an array or tensor of frames, images, or an open
                :class:`~endofm.video.frames.VideoSource`.
            level: ``"clip"`` for one embedding per window, ``"frame"`` to add one per frame, ``"patch"`` to add the
                patch tokens.
            window_seconds: Length of a window; that of the weights' preprocessing by default.
            hop_seconds: Step between windows; the window's length by default.
            frame_stride: Take every n-th source frame instead: a window is ``num_frames`` such frames.
            hop_frames: Step between those windows in source frames; the window's length by default.
            batch_size: Clips per forward pass.
            device: Move the model there first; where it is by default.
            dtype: ``torch.float32``, or ``torch.bfloat16`` to multiply in bfloat16 (faster, slightly inexact); by
                default bfloat16 only if the parameters are.
            fps: Frame rate of sources that have none (folders, arrays, images).
            field_of_view: Find the endoscope's image inside black borders and panels and crop to it; as the weights'
                preprocessing says by default.
            progress: Show a progress bar on a terminal.

        Returns:
            Embeddings with the times they stand for.

        Raises:
            VideoError: If the video cannot be read.
            InputError: If an argument is not valid.
        """
        from endofm.inference.extract import extract_features
        from endofm.video.open import open_video

        if device is not None:
            self.to(_usable_device(device))
        processor = self.processor
        if field_of_view is not None:
            processor = Processor(replace(processor.config, field_of_view=field_of_view))
        source = open_video(video, fps=fps)
        # A source that was open before stays open: it is the caller's.
        with nullcontext(source) if source is video else source:
            return extract_features(
                self._encode,
                source,
                processor,
                device=self.pos_embed.device,
                dtype=dtype or (torch.bfloat16 if self.pos_embed.dtype is torch.bfloat16 else torch.float32),
                batch_size=batch_size,
                window_seconds=window_seconds,
                hop_seconds=hop_seconds,
                frame_stride=frame_stride,
                hop_frames=hop_frames,
                level=level,
                progress=progress,
                provenance=self._weights_provenance(),
            )

    def _weights_provenance(self) -> dict[str, Any]:
        """Return what features say of their weights: no folders of this machine, which are nobody else's business."""
        told = {key: Path(value).name if key in ("file", "source") else value for key, value in self.provenance.items()}
        if self.provenance.get("source") and not Path(self.provenance["source"]).exists():
            told["source"] = self.provenance["source"]  # a registered name or a repository
        return {**told, "config": asdict(self.config)}

    def _encode(self, clips: Tensor, *, level: str) -> EncoderOutput:
        return EncoderOutput(self(clips), None) if level == "clip" else self.forward_features(clips)


def _usable_device(device: str | torch.device | None) -> torch.device:
    """Return the device, or say plainly that it is not to be had."""
    try:
        target = torch.device(device or "cpu")
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {str(device)!r} cannot be used here ({reason}); `endofm doctor` lists what can"
        ) from error
    return target
