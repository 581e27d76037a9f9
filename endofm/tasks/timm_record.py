"""The record of any trained image network of timm, made from timm's own description of it."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any

from endofm.config import ModelConfig, PreprocessConfig
from endofm.config.timm_config import TimmConfig
from endofm.errors import WeightsNotFoundError, quoted, require_extra
from endofm.hub.weight_record import WeightRecord

PREFIX = "timm:"
"""Beginning of such a name; an architecture of timm follows, and the tag of its weights."""


@cache
def timm_record(name: str) -> WeightRecord:
    """Return the record of ``"timm:ARCHITECTURE.TAG"``; without a tag that of timm's default weights.

    Raises:
        WeightsNotFoundError: If timm has no such architecture, or no weights of it on the hub.
        MissingExtraError: If timm is not installed.
    """
    import torch

    from endofm.models.timm_encoder import build_image_network, reduction_of

    timm = require_extra("timm", "train", f"Loading {quoted(name)}")
    named = name.removeprefix(PREFIX)
    architecture = named.partition(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise WeightsNotFoundError(f"timm {timm.__version__} has no architecture {quoted(architecture)}.{hint}")
    try:
        described = timm.get_pretrained_cfg(named)
    except RuntimeError:  # an unknown tag
        described = None
    if described is None or not described.hf_hub_id:
        tags = ", ".join(timm.list_pretrained(f"{architecture}.*")[:8]) or "none"
        raise WeightsNotFoundError(
            f"timm has no weights {quoted(named)} on the hub; those of this architecture: {tags}"
        )
    # timm's way to write an identifier: the owner alone stands for a repository of the same name.
    hub_id = described.hf_hub_id
    hub_id += f"{described.architecture or architecture}.{described.tag}" if hub_id.endswith("/") else ""
    size = described.input_size[-1]
    with torch.device("meta"):
        # Only its sizes are read; the ones in this description do not matter.
        network = build_image_network(TimmConfig(model=architecture, img_size=size, patch_size=size))
    encoder = TimmConfig(
        model=architecture, img_size=size, patch_size=reduction_of(network), embed_dim=network.num_features
    )
    classifiers = described.classifier or ()
    return WeightRecord(
        name=f"timm-{named}".lower(),
        description=f"{named} of timm, an image network that is run on every frame",
        config=ModelConfig(
            encoder=encoder, preprocess=_preprocess(described), name=name, license=described.license or "unknown"
        ),
        family="timm",
        hub_id=hub_id,
        license=described.license or "unknown",
        license_note="As timm states it.",
        left_out=tuple(f"{each}." for each in ((classifiers,) if isinstance(classifiers, str) else classifiers)),
        sources=(f"timm {timm.__version__}",),
    )


def _preprocess(described: Any) -> PreprocessConfig:
    """Return the preprocessing of timm's evaluation, for clips of as many frames as Endo-FM's."""
    size = described.input_size[-1]
    return PreprocessConfig(
        short_side=max(int(size / described.crop_pct), size),
        crop_size=size,
        antialias=True,
        resample="bicubic" if described.interpolation == "bicubic" else "bilinear",
        mean=tuple(described.mean),
        std=tuple(described.std),
    )
