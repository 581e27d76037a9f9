"""The description of a model: encoder, head and preprocessing, as ``config.json`` stores it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from endofm.config.checks import (
    LARGEST_COUNT,
    LARGEST_SIZE,
    from_mapping,
    require_bool,
    require_choice,
    require_int,
    require_number,
    require_str,
)
from endofm.config.preprocess import PreprocessConfig
from endofm.config.st_adapter_config import STAdapterConfig
from endofm.encoder_table import get_encoder_kind
from endofm.errors import ConfigError, quoted
from endofm.json_text import read_json
from endofm.task_table import FEATURES, get_task, task_names

AttentionType = Literal["divided_space_time", "space_only"]
TableResize = Literal["nearest", "bilinear", "bicubic"]
Pooling = Literal["norm_of_mean", "mean_of_norms"]

FORMAT_VERSION = 1
"""Version of the ``config.json`` layout; raised when an older reader would misread a newer file."""

# Fields that the first releases do not know, with the value that those releases assume.
_LATER_FIELDS: dict[str, dict[str, Any]] = {
    "encoder": {
        "attention_type": "divided_space_time",
        "st_adapter": None,
        "table_resize": "nearest",
        "pooling": "norm_of_mean",
    },
    "preprocess": {"resample": "bilinear", "pad_multiple": 32},
    "head": {"min_score": 0.5},
}


@dataclass(frozen=True, kw_only=True)
class BaseEncoderConfig:
    """Fields of every kind of encoder; a kind of :mod:`endofm.encoder_table` adds the fields that it needs.

    Attributes:
        kind: Name of the kind in the table; empty for :class:`EncoderConfig`.
        img_size: Side in pixels of the square image that the encoder was trained for.
        patch_size: Side in pixels of what one patch token stands for.
        num_frames: Number of frames that the encoder was trained for.
        in_chans: Number of input channels.
        embed_dim: Width of the tokens.
        layer_norm_eps: Epsilon of every layer norm.
        drop_path_rate: Stochastic depth of the last block; the rate grows linearly from 0 over the blocks. Used in
            training mode only. The published training uses 0.1.
    """

    kind: ClassVar[str] = ""
    img_size: int = 224
    patch_size: int = 16
    num_frames: int = 8
    in_chans: int = 3
    embed_dim: int = 768
    layer_norm_eps: float = 1e-6
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        require_int(self, "img_size", "patch_size", "in_chans", "embed_dim", high=LARGEST_SIZE)
        require_int(self, "num_frames", high=LARGEST_COUNT)
        require_number(self, "layer_norm_eps", low=0, open_low=True)
        require_number(self, "drop_path_rate", low=0, high=1, open_high=True)
        if self.img_size % self.patch_size:
            raise ConfigError(
                f"{type(self).__name__}.img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )

    @property
    def grid_size(self) -> int:
        """Number of patches along one side of the image that the encoder was trained for."""
        return self.img_size // self.patch_size

    def describe(self) -> str:
        """Return the kind and size of the network, a noun phrase with its article."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ViTConfig(BaseEncoderConfig):
    """Fields of encoders that are made of plain transformer blocks.

    Attributes:
        depth: Number of blocks.
        num_heads: Attention heads per block; divides ``embed_dim``.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        qkv_bias: Whether the fused query-key-value projections have a bias.
    """

    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "num_heads", high=LARGEST_SIZE)
        require_int(self, "depth", high=LARGEST_COUNT)
        require_number(self, "mlp_ratio", low=0, open_low=True, high=LARGEST_COUNT)
        require_bool(self, "qkv_bias")
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"{type(self).__name__}.embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}"
            )

    @property
    def mlp_dim(self) -> int:
        """Hidden width of the MLP."""
        return int(self.embed_dim * self.mlp_ratio)

    def describe(self) -> str:
        """Return the size of the network."""
        return (
            f"{self.depth} blocks, width {self.embed_dim}, {self.num_heads} heads, patches of {self.patch_size} x "
            f"{self.patch_size} pixels"
        )


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(ViTConfig):
    """Architecture of the divided space-time video transformer, or of the image transformer inside it.

    The defaults are the published Endo-FM backbone (ViT-B/16, 8 frames of 224 x 224). The fields of
    :class:`BaseEncoderConfig` and :class:`ViTConfig` come first.

    Attributes:
        attention_type: ``"divided_space_time"``, or ``"space_only"``: an image transformer run on every frame, without
            time embedding and attention over time.
        st_adapter: ST-Adapters in the blocks, None for none.
        table_resize: Resizing of the position and time embeddings to clips of other sizes and lengths. ``"nearest"``
            is Endo-FM's, which compares the number of patches alone; the others resize whenever rows or columns
            differ: ``"bilinear"`` (STOMP's) and ``"bicubic"`` (DINO's) in space, both linear in time.
        pooling: Clip embedding of a ``"space_only"`` encoder: ``"norm_of_mean"`` applies the final norm to the mean of
            the frames' class tokens (as in ST-Adapter), ``"mean_of_norms"`` takes the mean of the normed ones.
    """

    attention_type: AttentionType = "divided_space_time"
    st_adapter: STAdapterConfig | None = None
    table_resize: TableResize = "nearest"
    pooling: Pooling = "norm_of_mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "attention_type", get_args(AttentionType))
        require_choice(self, "table_resize", get_args(TableResize))
        require_choice(self, "pooling", get_args(Pooling))
        if self.st_adapter is not None and not isinstance(self.st_adapter, STAdapterConfig):
            raise ConfigError(f"EncoderConfig.st_adapter must be an STAdapterConfig or None: {quoted(self.st_adapter)}")

    def describe(self) -> str:
        """Return the kind and size of the network."""
        divided = self.attention_type == "divided_space_time"
        kind = "a video transformer with divided space-time attention" if divided else "an image transformer per frame"
        return f"{kind}: {super().describe()}"

    @classmethod
    def preset(cls, name: str, **changes: Any) -> EncoderConfig:
        """Return a named architecture, optionally with changed fields.

        Args:
            name: ``"tiny"`` (192 wide), ``"small"`` (384) or ``"base"`` (768, the paper's).
            **changes: Fields to replace.

        Raises:
            ConfigError: If the name is unknown or a changed field is not valid.
        """
        if name not in ENCODER_PRESETS:
            raise ConfigError(f"unknown encoder preset {quoted(name)}; choose one of {', '.join(ENCODER_PRESETS)}")
        try:
            return replace(ENCODER_PRESETS[name], **changes)
        except TypeError as error:
            raise ConfigError(f"EncoderConfig.preset({quoted(name)}): {error}") from error


ENCODER_PRESETS: dict[str, EncoderConfig] = {
    # Widths and heads of DeiT's tiny, small and base image transformers (arXiv 2012.12877, table 1).
    "tiny": EncoderConfig(embed_dim=192, num_heads=3),
    "small": EncoderConfig(embed_dim=384, num_heads=6),
    "base": EncoderConfig(),
}


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Configuration of the head, the part of a model that follows the encoder; every task has a subclass.

    Attributes:
        labels: Names of the classes, in the order of the outputs.
        task: Name of the task, as in ``config.json``.
    """

    labels: tuple[str, ...]
    task: ClassVar[str]

    def __post_init__(self) -> None:
        name = f"{type(self).__name__}.labels"
        if not isinstance(self.labels, tuple) or not all(isinstance(label, str) for label in self.labels):
            raise ConfigError(f"{name} must be a list of strings, got {quoted(self.labels)}")
        if not self.labels or "" in (label.strip() for label in self.labels):
            raise ConfigError(f"{name} needs at least one label, and none may be empty; got {quoted(self.labels)}")
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"{name} contains a label twice: {quoted(self.labels)}")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Description of a model, the content of ``config.json``.

    Attributes:
        encoder: Architecture of the encoder.
        preprocess: Preprocessing, from frames to a clip.
        name: Registry name or another short title of the weights; empty if none.
        trained: False for random weights, whose features mean nothing.
        license: Licence identifier of the weights, empty if not stated.
        source_sha256: sha256 of the file that the weights were converted from, empty if they were not converted.
        head: Configuration of the head; None for the encoder alone, whose task is ``"features"``.
    """

    encoder: BaseEncoderConfig = field(default_factory=EncoderConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    name: str = ""
    trained: bool = True
    license: str = ""
    source_sha256: str = ""
    head: HeadConfig | None = None

    def __post_init__(self) -> None:
        require_bool(self, "trained")
        require_str(self, "name", "license", "source_sha256")
        if self.head is not None and not _is_head(self.head):
            heads = ", ".join(name for name in task_names() if name != FEATURES)
            raise ConfigError(f"ModelConfig.head must be None or the configuration of {heads}; got {quoted(self.head)}")

    @property
    def transformer(self) -> EncoderConfig:
        """The encoder of code that needs a transformer of the Endo-FM family.

        Raises:
            ConfigError: If the encoder is of another kind.
        """
        if not isinstance(self.encoder, EncoderConfig):
            raise ConfigError(f"this needs a transformer of the Endo-FM family, not {self.encoder.describe()}")
        return self.encoder

    @property
    def task(self) -> str:
        """Task of the model: that of its head, or ``"features"``."""
        return self.head.task if self.head else FEATURES

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with the format's version and kind first."""
        values = {"format_version": FORMAT_VERSION, "model_type": "endofm", **asdict(self)}
        # Later fields are written only if they are used, so that older releases can read all other models.
        for part, fields in _LATER_FIELDS.items():
            for key, plain in fields.items():
                if key in (values[part] or ()) and values[part][key] == plain:
                    del values[part][key]
        if self.encoder.kind:
            values["encoder"] = {"kind": self.encoder.kind, **values["encoder"]}
        if self.head is None:
            del values["head"]
            return values
        return {**values, "task": self.task}

    def to_json(self) -> str:
        """Return the text of ``config.json``."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: object, *, source: str = "config") -> ModelConfig:
        """Build a configuration from the values of ``config.json``.

        Args:
            values: Plain values as :meth:`to_dict` returns them.
            source: Name of the file, for messages.

        Raises:
            ConfigError: If the values are not those of an endofm model, or a field is unknown or not valid.
        """
        if not isinstance(values, Mapping) or values.get("model_type") != "endofm":
            raise ConfigError(
                f'{source}: this is not the configuration of an endofm model (no "model_type": "endofm" in it)'
            )
        rest = dict(values)
        version = rest.pop("format_version", None)
        del rest["model_type"]
        # Checked before the fields: those of a newer format would be reported as unknown keys.
        if version != FORMAT_VERSION:
            raise ConfigError(
                f"{source}: format_version {quoted(version)} cannot be read by this release, which reads "
                f"{FORMAT_VERSION}; update endofm"
            )
        # Nested parts are built from the inside out, each with its path in the message.
        encoder, encoder_part = rest.get("encoder"), EncoderConfig
        if isinstance(encoder, Mapping):
            rest["encoder"] = encoder = dict(encoder)
            if encoder.get("st_adapter") is not None:
                encoder["st_adapter"] = from_mapping(
                    STAdapterConfig, encoder["st_adapter"], f"{source}: encoder: st_adapter"
                )
            if kind := encoder.pop("kind", ""):
                encoder_part = get_encoder_kind(kind).load("config")
        for key, part in (("encoder", encoder_part), ("preprocess", PreprocessConfig)):
            if key in rest:
                rest[key] = from_mapping(part, rest[key], f"{source}: {key}")
        task, head = rest.pop("task", FEATURES), rest.pop("head", None)
        if task != FEATURES:
            try:
                head_config = get_task(task).load("head_config")
            except ConfigError as error:
                raise ConfigError(f"{source}: {error}") from error
            if head is None:
                raise ConfigError(f"{source}: the task {quoted(task)} needs a description of its head")
            rest["head"] = from_mapping(head_config, head, f"{source}: head")
        elif head is not None:
            raise ConfigError(f"{source}: the task {quoted(task)} has no head, but one is described")
        return from_mapping(cls, rest, source)

    @classmethod
    def from_file(cls, path: str | Path) -> ModelConfig:
        """Read ``config.json``.

        Raises:
            ConfigError: If the file is missing, is not JSON or does not describe an endofm model.
        """
        path = Path(path)
        try:
            values = read_json(path)
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: there is no such configuration file") from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not a readable JSON file ({error})") from error
        return cls.from_dict(values, source=str(path))


def _is_head(head: object) -> bool:
    """Return whether an object is the head configuration of the task that it names."""
    task = getattr(head, "task", "")
    return task in task_names() and type(head) is get_task(task).load("head_config")
