"""Callables that ``torch.hub`` offers; ``hubconf.py`` only imports them.

Arguments are keyword-only, every function returns one object, and underscores stand for the hyphens of the names in
the registry (``endofm models``).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.errors import InputError

if TYPE_CHECKING:
    import torch

    from endofm.tasks.classification.model import EndoFMForVideoClassification
    from endofm.tasks.detection.model import EndoFMForDetection
    from endofm.tasks.features.model import EndoFM
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
    """Endo-FM's published encoder: ViT-B/16 with divided space-time attention, 8 frames of 224 x 224.

    Args:
        pretrained: Load trained weights; otherwise return freshly initialised ones to train.
        weights: Load these instead of the registry's (hub id, folder, ``.safetensors`` or original ``.pth``).
        cache_dir: Where downloads are kept.
        local_files_only: Never touch the network.
        device: Where to put the model; the CPU by default.

    Returns:
        The model, in evaluation mode if pretrained. ``model.extract_features(video)`` takes any video.

    Raises:
        WeightsError: If the weights cannot be found, fetched, verified or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_base_8x224", weights="endo_fm.pth")``
    """
    from endofm.hub.registry import get_record
    from endofm.tasks.features.model import EndoFM

    name = "endofm-base-8x224"
    if not pretrained:
        if weights is not None:
            raise InputError(
                f"pretrained=False asks for fresh weights, but weights={str(weights)!r} are given; drop one"
            )
        config = replace(get_record(name).config, name="", license="", trained=False)
        return EndoFM(config).to(device or "cpu")
    return EndoFM.from_pretrained(
        weights or name, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_nano_4x96(*, device: str | torch.device | None = None) -> EndoFM:
    """Return the small encoder that is part of the package: trained, if only for an hour on rendered endoscopy.

    For trying things out offline; it has seen next to no video of patients.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_nano_4x96")``
    """
    from endofm.tasks.features.model import EndoFM

    return EndoFM.from_pretrained("endofm-nano-4x96", device=device)


def endofm_base_8x224_random(*, device: str | torch.device | None = None) -> EndoFM:
    """Return the base encoder (768 wide) with fixed random weights; its features mean nothing.

    For trying out a pipeline before trained weights are at hand.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_base_8x224_random")``
    """
    return _random("base", device)


def endofm_small_8x224_random(*, device: str | torch.device | None = None) -> EndoFM:
    """Return the small encoder (384 wide) with fixed random weights; its features mean nothing.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_small_8x224_random")``
    """
    return _random("small", device)


def endofm_tiny_8x224_random(*, device: str | torch.device | None = None) -> EndoFM:
    """Return the tiny encoder (192 wide) with fixed random weights; its features mean nothing.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_tiny_8x224_random")``
    """
    return _random("tiny", device)


def endofm_classification(
    *,
    weights: str | Path,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> EndoFMForVideoClassification:
    """Load a video classifier: probabilities per clip and for a whole video.

    The authors' ``polypdiag.pth`` is read as it is; it is not fetched by name, because its checksum is not known here.

    Args:
        weights: Registry name, hub id, folder, ``.safetensors`` or original ``.pth``.
        cache_dir: Where downloads are kept.
        local_files_only: Never touch the network.
        device: Where to put the model; the CPU by default.

    Returns:
        The model in evaluation mode. ``model.predict(video)`` takes any video.

    Raises:
        WeightsError: If the weights cannot be found, fetched, verified or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_classification", weights="polypdiag.pth")``
    """
    from endofm.tasks.classification.model import EndoFMForVideoClassification

    return EndoFMForVideoClassification.from_pretrained(
        weights, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_classification_tiny_random(*, device: str | torch.device | None = None) -> EndoFMForVideoClassification:
    """Return a small video classifier with fixed random weights; its probabilities mean nothing.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_classification_tiny_random")``
    """
    return endofm_classification(weights="endofm-classification-tiny-random", device=device)


def endofm_detection(
    *,
    weights: str | Path,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> EndoFMForDetection:
    """Load a detector: boxes of lesions in every frame of a video.

    The authors' ``kumc.pth`` is read as it is; it is not fetched by name, because its checksum is not known here.

    Args:
        weights: Registry name, hub id, folder, ``.safetensors`` or original ``.pth``.
        cache_dir: Where downloads are kept.
        local_files_only: Never touch the network.
        device: Where to put the model; the CPU by default.

    Returns:
        The model in evaluation mode. ``model.predict(video)`` takes any video.

    Raises:
        WeightsError: If the weights cannot be found, fetched, verified or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_detection", weights="kumc.pth")``
    """
    from endofm.tasks.detection.model import EndoFMForDetection

    return EndoFMForDetection.from_pretrained(
        weights, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_detection_tiny_random(*, device: str | torch.device | None = None) -> EndoFMForDetection:
    """Return a small detector with fixed random weights; its boxes mean nothing.

    For trying out a pipeline before trained weights are at hand.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_detection_tiny_random")``
    """
    from endofm.tasks.detection.model import EndoFMForDetection

    return EndoFMForDetection.from_pretrained("endofm-detection-tiny-random", device=device)


def endofm_segmentation(
    *,
    weights: str | Path,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
) -> EndoFMForSegmentation:
    """Load a mask model: a class for every pixel of every frame of a video.

    The authors' ``cvc.pth`` is read as it is; it is not fetched by name, because its checksum is not known here.

    Args:
        weights: Registry name, hub id, folder, ``.safetensors`` or original ``.pth``.
        cache_dir: Where downloads are kept.
        local_files_only: Never touch the network.
        device: Where to put the model; the CPU by default.

    Returns:
        The model in evaluation mode. ``model.predict(video)`` and ``model.paint(video, "overlay.mp4")`` take any video.

    Raises:
        WeightsError: If the weights cannot be found, fetched, verified or do not fit.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_segmentation", weights="cvc.pth")``
    """
    from endofm.tasks.segmentation.model import EndoFMForSegmentation

    return EndoFMForSegmentation.from_pretrained(
        weights, cache_dir=cache_dir, local_files_only=local_files_only, device=device
    )


def endofm_segmentation_base_random(*, device: str | torch.device | None = None) -> EndoFMForSegmentation:
    """Return the authors' mask network (hybrid, 768 wide) with fixed random weights; its masks mean nothing.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_segmentation_base_random")``
    """
    return endofm_segmentation(weights="endofm-segmentation-base-random", device=device)


def endofm_segmentation_tiny_random(*, device: str | torch.device | None = None) -> EndoFMForSegmentation:
    """Return a light mask model (192 wide) with fixed random weights; its masks mean nothing.

    Args:
        device: Where to put the model; the CPU by default.

    Example:
        ``torch.hub.load("med-air/Endo-FM", "endofm_segmentation_tiny_random")``
    """
    return endofm_segmentation(weights="endofm-segmentation-tiny-random", device=device)


def endofm_processor(*, weights: str = "endofm-base-8x224") -> Processor:
    """Return the preprocessing that belongs to registered weights: frames to a normalised clip.

    Args:
        weights: Name in the registry.

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


def _random(size: str, device: str | torch.device | None) -> EndoFM:
    from endofm.tasks.features.model import EndoFM

    return EndoFM.from_pretrained(f"endofm-{size}-8x224-random", device=device)
