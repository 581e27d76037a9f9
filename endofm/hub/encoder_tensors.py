"""The encoder inside a file of tensors: its names, its architecture, and whether its values are finite.

Files of other programs carry no configuration. Their tensors are renamed to those of the encoder, and the architecture
is inferred from the shapes. Whether the tensors are complete is checked later, against the network itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from endofm.config import BaseEncoderConfig, EncoderConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, ConfigError, quoted
from endofm.hub.state_dicts import first_state_dict, select_state_dict
from endofm.hub.tensor_file import is_weight_type, unwrapped_name, without_wrappers

_HEADS = ("head.", "linear.", "n_averaged")
"""Beginnings of names that the encoder does without: a projection head or classifier, and the counter of an average."""

_NETWORKS = ("teacher", "student")
"""Networks of a training checkpoint, best first."""

_MARK = "patch_embed.proj.weight"
"""A tensor that most encoders have."""

_OTHER_MARKS = ("downsample_layers.0.conv.weight", "layer4.0.conv1.weight", "features.7.0.layer_scale")
"""A tensor of every other: the CAFormer, a ResNet, a ConvNeXt."""

_PREFERRED = (*_NETWORKS, "encoder")
"""Entries to take before all others; the last is V-JEPA's."""

_GROUPS = ("momentum_backbone.", "encoder.", "base_encoder.")
"""Prefixes of the encoder in files with other networks: STOMP's, those of masked autoencoders, and MoCo's."""

_COUNTER = "num_batches_tracked"
"""Last part of the name of the one integer that a batch norm holds."""

_BLOCK = re.compile(r"blocks\.(\d{1,4})\.")

_HEAD_WIDTH = 64
"""Width of an attention head in the published model and in every preset."""


@dataclass(frozen=True)
class EncoderTensors:
    """The encoder found in a checkpoint.

    Attributes:
        tensors: Its tensors by their names in the encoder.
        layout: Kind of file, for messages.
        part: Entry that was read, empty for a flat file.
        left_out_tensors: Tensors of heads in the same part, by their names in the file.
        left_out_entries: Other entries of the file.
        heads: Tensors of heads, by their names without wrappers.
    """

    tensors: dict[str, Tensor]
    layout: str
    part: str
    left_out_tensors: tuple[str, ...]
    left_out_entries: tuple[str, ...]
    heads: dict[str, Tensor]


def find_encoder(content: Mapping[str, Any], *, part: str | None = None, source: str = "checkpoint") -> EncoderTensors:
    """Find the encoder's tensors in the content of a checkpoint.

    Supported are training checkpoints (``teacher`` and ``student``; the teacher by default), and every file with one
    entry that holds an encoder, whatever its name is, or with the tensors alone. Wrappers (``module.``, ``_orig_mod.``)
    may be part of the names at any depth; ``backbone.`` and heads are recognised.

    Args:
        content: Result of :func:`~endofm.hub.checkpoint_file.read_checkpoint`.
        part: Entry to read, e.g. ``"student"`` of a training checkpoint.
        source: Name of the file, for messages.

    Raises:
        InputError: If the requested part is missing.
        CheckpointFormatError: If no encoder was found, or several.
    """
    found = select_state_dict(
        content, _is_encoder, kind="an encoder", part=part, preferred=_PREFERRED, source=source
    ) or first_state_dict(content)
    if found is None:
        entries = ", ".join(quoted(str(name))[1:-1] for name in list(content)[:8])
        raise CheckpointFormatError(
            f"{source}: no weights were found: neither tensors by name nor an entry that holds them; the file holds: "
            f"{entries or 'nothing'}"
        )
    names = {name: encoder_name(name) for name in found.tensors}
    bare = {name: without_wrappers(name) for name in names}
    for group in _GROUPS:
        if any(name.startswith(group) for name in bare.values()):
            names = {
                old: encoder_name(name[len(group) :]) if name.startswith(group) else None for old, name in bare.items()
            }
            break
    repeated = _duplicates(name for name in names.values() if name is not None)
    if repeated:
        raise CheckpointFormatError(
            f"{source}: several tensors would have the same name without their prefixes: {', '.join(repeated[:3])}"
        )
    if found.entry in _NETWORKS:
        layout = f"training checkpoint ({' and '.join(name for name in _NETWORKS if name in content)})"
    else:
        layout = f"state dict in the entry {found.entry!r}" if found.entry else "flat state dict"
    return EncoderTensors(
        tensors=plain_tensors({new: found.tensors[old] for old, new in names.items() if new is not None}, source),
        layout=layout,
        part=found.entry,
        left_out_tensors=tuple(old for old, new in names.items() if new is None),
        left_out_entries=found.others,
        # Not copied: few layouts read them.
        heads={unwrapped_name(old): found.tensors[old] for old, new in names.items() if new is None},
    )


def _is_encoder(names: set[str]) -> bool:
    return any(encoder_name(name) in (_MARK, *_OTHER_MARKS) for name in names)


def encoder_name(name: str) -> str | None:
    """Return a tensor's name without the prefixes of wrappers, or None if it belongs to a head.

    The prefixes are those of the published files: ``module.backbone.`` (student), ``backbone.`` (teacher and the
    Kinetics weights), ``module.`` (fine-tuned), ``model.`` (older TimeSformer files) or none.
    """
    name = unwrapped_name(name)
    if name.startswith("backbone."):
        return name[len("backbone.") :]
    return None if name.startswith(_HEADS) else name


def plain_tensors(
    entries: Mapping[str, Any], source: str = "checkpoint", *, integers: bool = False
) -> dict[str, Tensor]:
    """Copy the tensors of an entry into memory that the file does not share.

    Args:
        entries: Tensors by name.
        source: Name of the file, for messages.
        integers: Accept any int64 tensor; counters of batch norms are always accepted.

    Raises:
        CheckpointFormatError: If one of them is not an ordinary tensor of floating-point numbers.
    """
    return {
        name: _plain(tensor, name, source, integers=integers or name.endswith(f".{_COUNTER}"))
        for name, tensor in entries.items()
    }


def infer_encoder_config(
    tensors: Mapping[str, Tensor], *, num_heads: int | None = None, source: str = "checkpoint", divided: bool = True
) -> EncoderConfig:
    """Infer the architecture from the shapes of its tensors.

    Everything but the number of heads follows from the shapes: the attention's projections are as large with 1 head
    as with 12.

    Args:
        tensors: The encoder's tensors by name.
        num_heads: Attention heads per block; by default heads of width 64.
        source: Name of the file, for messages.
        divided: Whether it is the divided space-time transformer, otherwise an image transformer run on every frame,
            with the pooling and the resizing that such weights are used with.

    Raises:
        CheckpointFormatError: If the tensors that determine the architecture are missing or contradict one another.
        ConfigError: If ``num_heads`` is not given and the width is not a multiple of 64.
    """

    def shape(name: str, rank: int) -> tuple[int, ...]:
        if name not in tensors:
            kind = "a divided space-time" if divided else "an image"
            raise CheckpointFormatError(
                f"{source}: there is no tensor {quoted(name)}, so this is not {kind} encoder; {_first_names(tensors)}"
            )
        dimensions = tuple(tensors[name].shape)
        if len(dimensions) != rank or 0 in dimensions:
            raise CheckpointFormatError(f"{source}: tensor {quoted(name)} has the unusable shape {dimensions}")
        return dimensions

    width, in_chans, patch_height, patch_width = shape(_MARK, 4)
    if patch_height != patch_width:
        raise CheckpointFormatError(f"{source}: patches of {patch_height} x {patch_width} pixels are not square")
    # The first row of the position embedding belongs to the class token.
    grid = square_grid(shape("pos_embed", 3)[1] - 1, source)
    num_frames = shape("time_embed", 3)[1] if divided else EncoderConfig.num_frames
    hidden = shape("blocks.0.mlp.fc1.weight", 2)[0]
    return EncoderConfig(
        img_size=grid * patch_height,
        patch_size=patch_height,
        num_frames=num_frames,
        in_chans=in_chans,
        embed_dim=width,
        depth=1 + max(int(match[1]) for name in tensors if (match := _BLOCK.match(name))),
        num_heads=num_heads or infer_num_heads(width, source),
        mlp_ratio=infer_mlp_ratio(hidden, width),
        qkv_bias="blocks.0.attn.qkv.bias" in tensors,
        attention_type="divided_space_time" if divided else "space_only",
        table_resize="nearest" if divided else "bicubic",
        pooling="norm_of_mean" if divided else "mean_of_norms",
    )


def infer_mlp_ratio(hidden: int, width: int) -> float:
    """Return the ratio from which a configuration computes the hidden width of an MLP again."""
    # Where the quotient is rounded down, ViTConfig.mlp_dim would lose a channel; aim half a channel higher.
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width


def infer_num_heads(width: int, source: str) -> int:
    """Return the number of attention heads of the usual width, 64.

    Raises:
        ConfigError: If the encoder's width is not a multiple of that.
    """
    if width % _HEAD_WIDTH:
        raise ConfigError(
            f"{source}: the number of attention heads cannot be inferred from the tensors, and the width {width} is "
            f"not a multiple of {_HEAD_WIDTH}; state it (num_heads, or --num-heads)"
        )
    return width // _HEAD_WIDTH


def square_grid(positions: int, source: str) -> int:
    """Return the side of the square grid of patches that a position embedding belongs to.

    Raises:
        CheckpointFormatError: If the number of positions is not a square.
    """
    grid = math.isqrt(max(positions, 0))
    if grid < 1 or grid * grid != positions:
        raise CheckpointFormatError(
            f"{source}: the position embedding has {positions} patch positions, which is not a square grid"
        )
    return grid


def default_preprocess(encoder: BaseEncoderConfig) -> PreprocessConfig:
    """Return the preprocessing of a file that states none: that of pre-training, at the encoder's size."""
    return PreprocessConfig.for_image_size(encoder.img_size, num_frames=encoder.num_frames)


def _plain(tensor: object, name: str, source: str, *, integers: bool) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise CheckpointFormatError(f"{source}: {quoted(name)} is not a tensor")
    number = is_weight_type(tensor.dtype, like=torch.float32) or (integers and tensor.dtype == torch.int64)
    if tensor.layout != torch.strided or tensor.is_nested or tensor.device.type != "cpu" or not number:
        raise CheckpointFormatError(
            f"{source}: tensor {quoted(name)} is not an ordinary tensor of floating-point numbers"
        )
    # Strides of zero let a small file describe an enormous tensor, which the copy below would allocate.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointFormatError(f"{source}: tensor {quoted(name)} is larger than the data stored for it")
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _duplicates(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, each once, in order of their second occurrence."""
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in names:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    return list(repeated)


def _first_names(tensors: Mapping[str, object]) -> str:
    names = list(tensors)
    return f"its {len(names)} tensors begin with {', '.join(names[:3])}" if names else "it holds no tensors"
