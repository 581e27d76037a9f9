"""Entry points of ``torch.hub``; ``hubconf.py`` imports them.

Arguments are keyword-only, every function returns one object, and names are those of the registry (``endofm models``)
with underscores for hyphens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.errors import InputError, quoted

if TYPE_CHECKING:
    import torch

    from endofm.models.pretrained import Pretrained
    from endofm.tasks.classification.model import EndoFMForVideoClassification
    from endofm.tasks.detection.model import EndoFMForDetection
    from endofm.tasks.features.model import EndoFM, VideoEncoder
    from endofm.tasks.segmentation.model import EndoFMForSegmentation
    from endofm.transforms.processor import Processor


def endofm_base_8x224(
    *,
    pretrained: bool = True,
    weights: str | Path | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> EndoFM:
    """Load the published Endo-FM encoder: ViT-B/16 with divided space-time attention, 8 frames of 224 x 224.

    Args:
        pretrained: Load trained weights; otherwise return freshly initialised ones to train.
        weights: Load these instead of the registered ones (hub id, folder, ``.safetensors`` or published ``.pth``).
        cache_dir: Folder for downloads.
        local_files_only: Do not use the network.
        device: Device of the model; the CPU by default.

    Returns:
        The model, in evaluation mode if pretrained. ``model.extract_features(video)`` accepts any video.

    Raises:
        WeightsError: If the weights cannot be found, downloaded or verified, or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_base_8x224", weights="endo_fm.pth")``
    """
    from endofm.hub.registry import get_record
    from endofm.tasks.features.model import EndoFM

    name = "endofm-base-8x224"
    if not pretrained:
        if weights is not None:
            raise InputError(
                f"pretrained=False requests fresh weights, but weights={quoted(str(weights))} are given; drop one"
            )
        # Fresh weights are neither those of the record nor under its licence.
        config = replace(get_record(name).config, name="", license="", trained=False)
        return EndoFM(config).to(device or "cpu")
    return EndoFM.from_pretrained(
        weights or name, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_encoder(
    *,
    name: str,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> VideoEncoder:
    """Load an encoder of any kind by its name: those of this package, of other projects, and any network of timm.

    Args:
        name: A registered name (``endofm models`` lists them), a Hugging Face id, a folder, a file, or ``"timm:NAME"``.
        cache_dir: Folder for downloads.
        local_files_only: Do not use the network.
        device: Device of the model; the CPU by default.

    Raises:
        WeightsError: If the weights cannot be found, downloaded or verified, or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_encoder", name="surgmotion-l")``
    """
    from endofm.tasks.features.model import load_encoder

    return load_encoder(name, cache_dir=cache_dir, local_files_only=local_files_only, device=device)


def endofm_nano_4x96(*, device: str | torch.device | None = None) -> EndoFM:
    """Load the small encoder that ships with the package, trained for minutes on real pictures.

    For trying the software offline; its training data contain almost no video of patients.

    Args:
        device: Device of the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_nano_4x96")``
    """
    from endofm.tasks.features.model import EndoFM

    return EndoFM.from_pretrained("endofm-nano-4x96", device=device)


def endofm_classification(
    *,
    weights: str | Path,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> EndoFMForVideoClassification:
    """Load a video classifier: probabilities for clips and for a complete video.

    The published ``polypdiag.pth`` can be given as ``weights``. It cannot be downloaded by name, because its checksum
    is unknown.

    Args:
        weights: Registered name, hub id, folder, ``.safetensors`` or published ``.pth``.
        cache_dir: Folder for downloads.
        local_files_only: Do not use the network.
        device: Device of the model; the CPU by default.

    Returns:
        The model in evaluation mode. ``model.predict(video)`` accepts any video.

    Raises:
        WeightsError: If the weights cannot be found, downloaded or verified, or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_classification", weights="polypdiag.pth")``
    """
    from endofm.tasks.classification.model import EndoFMForVideoClassification

    return EndoFMForVideoClassification.from_pretrained(
        weights, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_detection(
    *,
    weights: str | Path,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> EndoFMForDetection:
    """Load a detector: boxes of lesions in every frame of a video.

    The published ``kumc.pth`` can be given as ``weights``. It cannot be downloaded by name, because its checksum is
    unknown.

    Args:
        weights: Registered name, hub id, folder, ``.safetensors`` or published ``.pth``.
        cache_dir: Folder for downloads.
        local_files_only: Do not use the network.
        device: Device of the model; the CPU by default.

    Returns:
        The model in evaluation mode. ``model.predict(video)`` accepts any video.

    Raises:
        WeightsError: If the weights cannot be found, downloaded or verified, or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_detection", weights="kumc.pth")``
    """
    from endofm.tasks.detection.model import EndoFMForDetection

    return EndoFMForDetection.from_pretrained(
        weights, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_segmentation(
    *,
    weights: str | Path,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> EndoFMForSegmentation:
    """Load a segmentation model: a class for every pixel of every frame of a video.

    The published ``cvc.pth`` can be given as ``weights``. It cannot be downloaded by name, because its checksum is
    unknown.

    Args:
        weights: Registered name, hub id, folder, ``.safetensors`` or published ``.pth``.
        cache_dir: Folder for downloads.
        local_files_only: Do not use the network.
        device: Device of the model; the CPU by default.

    Returns:
        The model in evaluation mode. ``model.predict(video)`` accepts any video.

    Raises:
        WeightsError: If the weights cannot be found, downloaded or verified, or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_segmentation", weights="cvc.pth")``
    """
    from endofm.tasks.segmentation.model import EndoFMForSegmentation

    return EndoFMForSegmentation.from_pretrained(
        weights, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_processor(*, weights: str = "endofm-base-8x224") -> Processor:
    """Return the preprocessing of registered weights: from frames to a normalised clip.

    Args:
        weights: Registered name.

    Returns:
        A callable from uint8 frames ``(time, height, width, 3)`` to a float clip ``(3, time, height, width)``.

    Raises:
        WeightsNotFoundError: If there is no such name.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_processor")``
    """
    from endofm.hub.registry import get_record
    from endofm.transforms.processor import Processor

    return Processor(get_record(weights).config.preprocess)


def _random_entry(name: str, model: str, outputs: str) -> Callable[..., Pretrained]:
    """Return the entry point of registered random weights.

    Args:
        name: Registered name.
        model: Kind of model, for the docstring.
        outputs: Its outputs, which mean nothing.
    """

    def entry(*, device: str | torch.device | None = None) -> Pretrained:
        from endofm.models.auto import load_model

        return load_model(name, device=device)

    # torch.hub lists functions by name and prints their docstrings, so that both are set as if written out.
    entry.__name__ = entry.__qualname__ = name.replace("-", "_")
    entry.__doc__ = f"""Return {model} with fixed random weights; its {outputs} mean nothing.

    For trying a pipeline without trained weights.

    Args:
        device: Device of the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "{entry.__name__}")``
    """
    return entry


endofm_base_8x224_random = _random_entry("endofm-base-8x224-random", "the base encoder (768 wide)", "features")
endofm_small_8x224_random = _random_entry("endofm-small-8x224-random", "the small encoder (384 wide)", "features")
endofm_tiny_8x224_random = _random_entry("endofm-tiny-8x224-random", "the tiny encoder (192 wide)", "features")
endofm_classification_tiny_random = _random_entry(
    "endofm-classification-tiny-random", "a small video classifier (192 wide)", "probabilities"
)
endofm_detection_tiny_random = _random_entry("endofm-detection-tiny-random", "a small detector (192 wide)", "boxes")
endofm_segmentation_base_random = _random_entry(
    "endofm-segmentation-base-random", "the published segmentation network (hybrid, 768 wide)", "masks"
)
endofm_segmentation_tiny_random = _random_entry(
    "endofm-segmentation-tiny-random", "a light segmentation model (192 wide)", "masks"
)
