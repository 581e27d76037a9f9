"""Table of the kinds of encoders and their parts.

A kind is its configuration in ``endofm/config``, its network in ``endofm/models`` and one row here, which names these
parts as ``"module:attribute"`` and imports them on request: records describe an encoder without importing torch. The
divided space-time transformer and the image transformer inside it, both described by
:class:`~endofm.config.EncoderConfig`, have no row: they are what a configuration without a ``kind`` means. A program
adds its own kind with :func:`register_encoder_kind`.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import Any

from endofm.errors import ConfigError, quoted


@dataclass(frozen=True, kw_only=True)
class EncoderKind:
    """A kind of encoder and its parts, each as ``"module:attribute"``.

    Attributes:
        name: Name of the kind, as in ``config.json``.
        config: Its configuration, a subclass of :class:`~endofm.config.BaseEncoderConfig`.
        network: Its network, a subclass of :class:`~endofm.models.encoder.Transformer`.
        layouts: The forms in which files of other programs hold it, a tuple of
            :class:`~endofm.hub.encoder_layout.EncoderLayout`.
    """

    name: str
    config: str
    network: str
    layouts: str

    def load(self, part: str) -> Any:
        """Import and return a part, ``"network"`` for example."""
        module, _, attribute = getattr(self, part).partition(":")
        return getattr(importlib.import_module(module), attribute)


_KINDS: dict[str, EncoderKind] = {
    kind.name: kind
    for kind in (
        EncoderKind(
            name="v-jepa-2",
            config="endofm.config.vjepa_config:VJepaConfig",
            network="endofm.models.vjepa:VJepaEncoder",
            layouts="endofm.models.vjepa:LAYOUTS",
        ),
        EncoderKind(
            name="endomamba",
            config="endofm.config.mamba_config:MambaConfig",
            network="endofm.models.endomamba:MambaEncoder",
            layouts="endofm.models.endomamba:LAYOUTS",
        ),
        EncoderKind(
            name="timm",
            config="endofm.config.timm_config:TimmConfig",
            network="endofm.models.timm_encoder:TimmEncoder",
            layouts="endofm.models.timm_layouts:LAYOUTS",
        ),
    )
}


def register_encoder_kind(kind: EncoderKind) -> None:
    """Add a kind of encoder to the table in this process.

    Raises:
        ConfigError: If the name is taken.
    """
    if kind.name in _KINDS:
        raise ConfigError(f"a kind of encoder named {kind.name!r} is registered already")
    _KINDS[kind.name] = kind


def encoder_kinds() -> list[EncoderKind]:
    """Return all kinds."""
    return list(_KINDS.values())


def get_encoder_kind(name: str) -> EncoderKind:
    """Return a kind by its name.

    Raises:
        ConfigError: If there is no kind of this name; the message names similar ones.
    """
    if name not in _KINDS:
        close = difflib.get_close_matches(str(name)[:100], _KINDS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"unknown kind of encoder {quoted(name)}; {hint}this release has {', '.join(_KINDS)}")
    return _KINDS[name]
