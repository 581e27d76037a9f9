"""The forms in which files of other programs hold an encoder, and reading one of them.

A form is data: the tensors that give it away, what is renamed, what is left out. Each module of a network lists its
own (``layouts`` in :mod:`endofm.encoder_table`); whether the tensors are complete is decided by the network alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from endofm.config import BaseEncoderConfig, PreprocessConfig
from endofm.encoder_table import encoder_kinds, get_encoder_kind
from endofm.errors import CheckpointFormatError
from endofm.hub.encoder_tensors import default_preprocess, find_encoder
from endofm.hub.task_layout import PublishedModel, ReadOptions
from endofm.hub.tensor_file import require_finite

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = Mapping[str, Tensor]


def _unchanged(tensors: Tensors) -> dict[str, Tensor]:
    return dict(tensors)


@dataclass(frozen=True, kw_only=True)
class EncoderLayout:
    """A form in which files of other programs hold an encoder.

    Attributes:
        title: What such a file holds, a noun phrase with its article.
        marks: Tensors that give the form away: number of axes by name.
        without: Tensors that no such file holds.
        infer: Reads the architecture off the renamed tensors; takes them, the number of attention heads (None if it
            was not given) and the name of the file.
        left_out: Tensors that play no part in the encoder, by name, or by prefix if it ends with a dot.
        rename: Returns the tensors by their names in the network.
        preprocess: Preprocessing that such files are used with.
        registered_only: Read only files of a record, because nothing can be inferred from the tensors.
        with_heads: Keep the tensors whose names are those of heads elsewhere.
    """

    title: str
    marks: Mapping[str, int]
    without: tuple[str, ...] = ()
    infer: Callable[[Tensors, int | None, str], BaseEncoderConfig]
    left_out: tuple[str, ...] = ()
    rename: Callable[[Tensors], dict[str, Tensor]] = _unchanged
    preprocess: Callable[[BaseEncoderConfig], PreprocessConfig] = default_preprocess
    registered_only: bool = False
    with_heads: bool = False

    def differences(self, tensors: Tensors) -> list[str]:
        """Return what keeps tensors from having this form, a phrase each; nothing if they have it."""
        missing = [
            f"no {name} of {axes} axes"
            for name, axes in self.marks.items()
            if name not in tensors or tensors[name].ndim != axes
        ]
        return missing + [f"{name} is there" for name in self.without if name in tensors]


def read_encoder(content: Mapping[str, Any], options: ReadOptions) -> PublishedModel:
    """Return the encoder in the content of a file, whatever its kind.

    Args:
        content: Result of :func:`~endofm.hub.checkpoint_file.read_checkpoint`, or the tensors of a safetensors file.
        options: What the tensors do not tell.

    Raises:
        CheckpointFormatError: If the content has no supported layout, or holds values that are not finite.
        ConfigError: If the architecture cannot be inferred from the tensors.
        InputError: If the options do not fit the file.
    """
    source = options.source
    selected = find_encoder(content, part=options.part, source=source)
    registered = options.registered.encoder if options.registered else None
    layout = _select(selected.tensors, registered, source)
    found = selected.tensors | (selected.heads if layout.with_heads else {})
    dropped = [name for name in found if _is_named(name, (*layout.left_out, *options.left_out))]
    tensors = layout.rename({name: tensor for name, tensor in found.items() if name not in dropped})
    # A registered file has the architecture of its record; inferring it would have to guess the number of heads.
    encoder = registered or layout.infer(tensors, options.num_heads, source)
    require_finite(tensors, source)
    return PublishedModel(
        tensors=tensors,
        encoder=encoder,
        preprocess=layout.preprocess(encoder),
        head=None,
        layout=f"{layout.title}; {selected.layout}",
        part=selected.part,
        # What only this layout leaves out comes first; a report shows the first few.
        left_out_tensors=(*dropped, *(() if layout.with_heads else selected.left_out_tensors)),
        left_out_entries=selected.left_out_entries,
    )


def encoder_layouts(kind: str | None = None) -> tuple[EncoderLayout, ...]:
    """Return the layouts of one kind of encoder, or of all, those that say more first.

    Args:
        kind: Name of the kind, empty for :class:`~endofm.config.EncoderConfig`; None for all.
    """
    from endofm.hub.vit_layouts import LAYOUTS

    rows = encoder_kinds() if kind is None else [get_encoder_kind(kind)] if kind else []
    others = tuple(layout for row in rows for layout in row.load("layouts"))
    return others if kind else (*others, *LAYOUTS)


def _select(tensors: Tensors, registered: BaseEncoderConfig | None, source: str) -> EncoderLayout:
    """Return the layout that tensors have.

    Raises:
        CheckpointFormatError: If there is none; the message names the closest one and what differs.
    """
    layouts = encoder_layouts(None if registered is None else registered.kind)
    if registered is None:
        layouts = tuple(layout for layout in layouts if not layout.registered_only)
    for layout in layouts:
        if not layout.differences(tensors):
            return layout
    closest = min(layouts, key=lambda layout: len(layout.differences(tensors)) / (len(layout.marks) or 1))
    differences = closest.differences(tensors)
    # Of tensors with other names altogether, the first layout would be the closest.
    resembles = any(name in tensors for layout in layouts for name in layout.marks)
    like = (
        f"Closest is {closest.title}, but there is {', '.join(differences[:3])}" if resembles else "None resembles them"
    )
    names = list(tensors)
    raise CheckpointFormatError(
        f"{source}: these are not the tensors of a known encoder: the {len(names)} of them begin with "
        f"{', '.join(names[:3])}. {like}. Supported are "
        f"{'; '.join(dict.fromkeys(layout.title for layout in layouts))}"
    )


def _is_named(name: str, names: tuple[str, ...]) -> bool:
    return any(name == other or (other.endswith(".") and name.startswith(other)) for other in names)
