"""The architectures of timm that other projects use, with few blocks and channels: real sizes are slow in tests.

Each has a record with random weights, so that commands take it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from endofm.config.family_preprocess import whole_frame
from endofm.config.timm_config import TimmConfig
from endofm.hub import registry
from endofm.hub.registry import list_models, register
from endofm.tasks.family_records import random_record


def _caformer(**options: Any) -> Any:
    from timm.models.metaformer import Attention, LayerNorm2dNoBias, LayerNormNoBias, MetaFormer, SepConv

    mixers, norms = [SepConv] * 2 + [Attention] * 2, [LayerNorm2dNoBias] * 2 + [LayerNormNoBias] * 2
    return MetaFormer(depths=(1, 1, 1, 1), dims=(16, 32, 64, 96), token_mixers=mixers, norm_layers=norms, **options)


def _small(model: str, **sizes: Any) -> Callable[..., Any]:
    def build(**options: Any) -> Any:
        import timm

        return timm.create_model(model, **sizes, **options)

    return build


_transformer = partial(_small, embed_dim=64, depth=2, num_heads=1)

_NETWORKS: tuple[tuple[str, Callable[..., Any], TimmConfig], ...] = (
    (
        "caformer",
        _caformer,
        TimmConfig(model="tiny_caformer", plain_relu=True, patch_size=32, img_size=64, embed_dim=96),
    ),
    (
        "dinov2",
        _transformer("vit_small_patch14_dinov2"),
        TimmConfig(model="tiny_dinov2", patch_size=14, img_size=56, embed_dim=64),
    ),
    (
        "dinov2-reg4",
        _transformer("vit_small_patch14_reg4_dinov2"),
        TimmConfig(model="tiny_reg4_dinov2", patch_size=14, img_size=56, embed_dim=64),
    ),
    ("dinov3", _transformer("vit_small_patch16_dinov3"), TimmConfig(model="tiny_dinov3", img_size=64, embed_dim=64)),
    (
        "resnet50",
        _small("resnet50", layers=(1, 1, 1, 1), channels=(8, 8, 16, 16)),
        TimmConfig(model="tiny_resnet50", patch_size=32, img_size=64, embed_dim=64),
    ),
)  # fmt: skip

TINY_TIMM = tuple(f"tiny-{name}" for name, _, _ in _NETWORKS)
"""Names of the records that :func:`tiny_timm` adds."""


@pytest.fixture(scope="module")
def tiny_timm() -> Iterator[None]:
    """Add the architectures to timm and, for the tests of a module, their records to the registry."""
    from timm.models import is_model, register_model

    with pytest.MonkeyPatch.context() as patch:
        list_models()
        patch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
        for name, build, encoder in _NETWORKS:
            if not is_model(encoder.model):
                register_model(_entry_point(encoder.model, build))
            register(random_record(f"tiny-{name}", name, encoder, whole_frame(encoder)))
        yield


def _entry_point(name: str, build: Callable[..., Any]) -> Callable[..., Any]:
    def made(**options: Any) -> Any:
        # What timm adds for weights that it could download.
        for option in ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            options.pop(option, None)
        return build(**options)

    made.__name__ = name
    return made
