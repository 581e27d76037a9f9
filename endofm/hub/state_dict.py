"""Names and shapes of the encoder's tensors, known from its configuration alone.

The names are those of the published checkpoint, so that a file can be checked without building a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from endofm.config import EncoderConfig
from endofm.errors import StateDictError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

_SHOWN = 4
"""Names that a message lists before it only counts."""


def encoder_shapes(config: EncoderConfig) -> dict[str, Shape]:
    """Return the shape of every tensor of the encoder by name, in the order of the published checkpoint.

    Args:
        config: Architecture.
    """
    width, hidden = config.embed_dim, config.mlp_dim
    shapes: dict[str, Shape] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + config.grid_size**2, width),
    }
    divided = config.attention_type == "divided_space_time"
    if divided:
        shapes["time_embed"] = (1, config.num_frames, width)
    shapes |= {
        "patch_embed.proj.weight": (width, config.in_chans, config.patch_size, config.patch_size),
        "patch_embed.proj.bias": (width,),
    }

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def linear(name: str, out_features: int, in_features: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (out_features, in_features)
        if bias:
            shapes[f"{name}.bias"] = (out_features,)

    def attention(name: str) -> None:
        linear(f"{name}.qkv", 3 * width, width, config.qkv_bias)
        linear(f"{name}.proj", width, width)

    for index in range(config.depth):
        block = f"blocks.{index}"
        norm(f"{block}.norm1")
        attention(f"{block}.attn")
        if divided:
            norm(f"{block}.temporal_norm1")
            attention(f"{block}.temporal_attn")
            linear(f"{block}.temporal_fc", width, width)
        norm(f"{block}.norm2")
        linear(f"{block}.mlp.fc1", hidden, width)
        linear(f"{block}.mlp.fc2", width, hidden)
    norm("norm")
    adapter = config.st_adapter
    if adapter is None:
        return shapes
    for index, place in adapter.places(config.depth):
        name = f"blocks.{index}.{place}"
        linear(f"{name}.down", adapter.width, width)
        shapes[f"{name}.conv.weight"] = (adapter.width, 1, *adapter.kernel)
        shapes[f"{name}.conv.bias"] = (adapter.width,)
        linear(f"{name}.up", width, adapter.width)
    return shapes


def count_parameters(config: EncoderConfig) -> int:
    """Return the number of parameters of the encoder."""
    return sum(math.prod(shape) for shape in encoder_shapes(config).values())


def check_state_dict(config: EncoderConfig, state_dict: Mapping[str, Tensor], *, where: str = "state dict") -> None:
    """Raise unless a state dict is exactly one of the encoder: all names, no others, every shape.

    Args:
        config: Architecture that the tensors are for.
        state_dict: Tensors by name.
        where: Name of the file, for messages.

    Raises:
        StateDictError: Naming the first few tensors that are missing, unexpected or of another shape.
    """
    what = f"an encoder of width {config.embed_dim} with {config.depth} blocks"
    check_shapes(encoder_shapes(config), state_dict, where=where, what=what)


def check_shapes(expected: Mapping[str, Shape], state_dict: Mapping[str, Tensor], *, where: str, what: str) -> None:
    """Raise unless a state dict has exactly the expected names and shapes.

    Args:
        expected: Shapes by name.
        state_dict: Tensors by name.
        where: Name of the file, for messages.
        what: What the tensors should be, in words with their article.

    Raises:
        StateDictError: Naming the first few tensors that are missing, unexpected or of another shape.
    """
    missing = [name for name in expected if name not in state_dict]
    unexpected = [name for name in state_dict if name not in expected]
    reshaped = [
        f"{name} {tuple(state_dict[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in state_dict and tuple(state_dict[name].shape) != shape
    ]
    problems = [
        f"{len(names)} {kind}: {_first(names)}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if problems:
        raise StateDictError(
            f"{where}: the tensors are not those of {what}: "
            f"{'; '.join(problems)}. Nothing was loaded. Check that the weights and the configuration belong together; "
            "original checkpoints are read with `endofm convert`."
        )


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    more = f", and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
