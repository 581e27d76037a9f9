"""The encoders in timm's registry: importing this module makes ``timm.create_model`` know them.

Names are those of ``endofm models`` with underscores for hyphens and dots. Weights are loaded by this package, strictly
and verified; timm's own downloads are not used.

Example:
    >>> import endofm.timm_models
    >>> import timm
    >>> encoder = timm.create_model("endofm_nano_4x96", pretrained=True)
    >>> encoder.embed_dim
    192
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from timm.models import register_model
from torch import nn

from endofm.errors import InputError
from endofm.hub.registry import get_record, list_models
from endofm.models.build import build_encoder
from endofm.tasks.features.model import load_encoder


def _entry_point(name: str) -> Callable[..., nn.Module]:
    """Return timm's entry point of a registered encoder."""

    def create(
        pretrained: bool = False,
        *,
        num_classes: int = 0,
        drop_path_rate: float = 0.0,
        cache_dir: str | None = None,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Any = None,
    ) -> nn.Module:
        if num_classes:
            raise InputError(f"{name} has no classes of its own; use endofm.EndoFMForVideoClassification.from_backbone")
        if pretrained_cfg is not None or pretrained_cfg_overlay is not None:
            raise InputError(f"{name}: weights are chosen by the name; load others with endofm.load_encoder(SOURCE)")
        if pretrained:
            return load_encoder(name, cache_dir=cache_dir)
        return build_encoder(replace(get_record(name).config.encoder, drop_path_rate=drop_path_rate))

    create.__name__ = create.__qualname__ = re.sub(r"\W", "_", name)
    create.__doc__ = f"Create {name}: {get_record(name).description}."
    return create


for _name in list_models():
    if get_record(_name).task == "features":
        register_model(_entry_point(_name))
