"""Frozen dataclasses that describe a model and its preprocessing, and their JSON form.

``config.json`` beside a weights file holds one :class:`ModelConfig`. Unknown keys are refused with a suggestion, so
that a misspelt setting never passes silently.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from endofm.errors import ConfigError

CropMode = Literal["center", "upstream"]

FORMAT_VERSION = 1
"""Version of the ``config.json`` layout; raised when an older reader would misread a newer file."""

_T = TypeVar("_T")


def _from_mapping(cls: type[_T], values: object, where: str) -> _T:
    """Build the dataclass ``cls`` from plain JSON values, refusing unknown keys."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a JSON object with the fields of {cls.__name__}, got {values!r}")
    known = [f.name for f in fields(cls) if f.init]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r} in {cls.__name__}{hint}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _require_positive_ints(config: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{type(config).__name__}.{name} must be a whole number >= 1, got {value!r}")


def _require_positive(config: object, name: str) -> None:
    value = getattr(config, name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigError(f"{type(config).__name__}.{name} must be a number > 0, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Architecture of the divided space-time video transformer.

    The defaults are the published Endo-FM backbone (ViT-B/16, 8 frames of 224 x 224).

    Attributes:
        img_size: Side in pixels of the square image that the position table ``pos_embed`` was made for.
        patch_size: Side of a patch in pixels.
        num_frames: Number of rows of the time table ``time_embed``.
        in_chans: Number of input channels.
        embed_dim: Width of the tokens.
        depth: Number of blocks.
        num_heads: Attention heads per block; divides ``embed_dim``.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        qkv_bias: Whether the fused query-key-value projections have a bias.
        layer_norm_eps: Epsilon of every layer norm.
        drop_path_rate: Stochastic depth of the last block; blocks before it grow linearly from 0. Acts in training
            mode only. The original trains with 0.1.
    """

    img_size: int = 224
    patch_size: int = 16
    num_frames: int = 8
    in_chans: int = 3
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-6
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        _require_positive_ints(
            self, ("img_size", "patch_size", "num_frames", "in_chans", "embed_dim", "depth", "num_heads")
        )
        _require_positive(self, "mlp_ratio")
        _require_positive(self, "layer_norm_eps")
        if not isinstance(self.qkv_bias, bool):
            raise ConfigError(f"EncoderConfig.qkv_bias must be true or false, got {self.qkv_bias!r}")
        if not isinstance(self.drop_path_rate, (int, float)) or not 0 <= self.drop_path_rate < 1:
            raise ConfigError(f"EncoderConfig.drop_path_rate must be in [0, 1), got {self.drop_path_rate!r}")
        if self.img_size % self.patch_size:
            raise ConfigError(
                f"EncoderConfig.img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"EncoderConfig.embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}"
            )

    @property
    def grid_size(self) -> int:
        """Patches along one side of the image that the position table was made for."""
        return self.img_size // self.patch_size

    @property
    def mlp_dim(self) -> int:
        """Hidden width of the MLP."""
        return int(self.embed_dim * self.mlp_ratio)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> EncoderConfig:
        """Return a named architecture, optionally with some fields changed.

        Args:
            name: ``"tiny"`` (192 wide), ``"small"`` (384) or ``"base"`` (768, the paper's).
            **changes: Fields to replace.

        Raises:
            ConfigError: If the name is unknown or a changed field is not valid.
        """
        if name not in ENCODER_PRESETS:
            raise ConfigError(f"unknown encoder preset {name!r}; choose one of {', '.join(ENCODER_PRESETS)}")
        try:
            return replace(ENCODER_PRESETS[name], **changes)
        except TypeError as error:
            raise ConfigError(f"EncoderConfig.preset({name!r}): {error}") from error


ENCODER_PRESETS: dict[str, EncoderConfig] = {
    # Widths and heads of DeiT's tiny, small and base image transformers (arXiv 2012.12877, table 1).
    "tiny": EncoderConfig(embed_dim=192, num_heads=3),
    "small": EncoderConfig(embed_dim=384, num_heads=6),
    "base": EncoderConfig(),
}


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How frames become a clip; stored with the weights because features depend on it.

    Attributes:
        num_frames: Frames per clip.
        window_seconds: Time that one clip spans, in seconds. The default is the 5 s of the pre-training clips.
        short_side: Length in pixels that the shorter side of a frame is resized to (bilinear, half-pixel centres,
            no antialiasing, as in the original).
        crop_size: Side in pixels of the square crop that follows.
        crop: ``"center"`` (sound default) or ``"upstream"``: the left part of a landscape frame, the top part of a
            portrait frame, as the original's evaluation does it (an accident that its published numbers rest on).
        mean: Per-channel mean (RGB, frames scaled to [0, 1]).
        std: Per-channel standard deviation.
        field_of_view: Crop every frame to the endoscope's image first, leaving out black borders and side panels.
    """

    num_frames: int = 8
    window_seconds: float = 5.0
    short_side: int = 256
    crop_size: int = 224
    crop: CropMode = "center"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    field_of_view: bool = False

    def __post_init__(self) -> None:
        _require_positive_ints(self, ("num_frames", "short_side", "crop_size"))
        _require_positive(self, "window_seconds")
        if self.crop not in get_args(CropMode):
            raise ConfigError(
                f"PreprocessConfig.crop must be one of {', '.join(get_args(CropMode))}, got {self.crop!r}"
            )
        if self.short_side < self.crop_size:
            raise ConfigError(
                f"PreprocessConfig.short_side {self.short_side} is smaller than crop_size {self.crop_size}"
            )
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not all(isinstance(v, (int, float)) for v in values):
                raise ConfigError(f"PreprocessConfig.{name} must hold 3 numbers, got {values!r}")
        if min(self.std) <= 0:
            raise ConfigError(f"PreprocessConfig.std must be positive, got {self.std!r}")
        if not isinstance(self.field_of_view, bool):
            raise ConfigError(f"PreprocessConfig.field_of_view must be true or false, got {self.field_of_view!r}")

    @classmethod
    def for_image_size(cls, size: int, **changes: Any) -> PreprocessConfig:
        """Return the default preprocessing scaled to another crop size (256:224 kept between resize and crop)."""
        return cls(crop_size=size, short_side=round(size * 256 / 224), **changes)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that ``config.json`` says about a model.

    Attributes:
        encoder: Architecture.
        preprocess: Frames to clip.
        name: Registry name or another short title of the weights; empty if none.
        trained: False for random weights, whose features mean nothing.
        license: Licence identifier of the weights, empty if not stated.
        source_sha256: sha256 of the file that the weights were converted from, empty if there was none.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    name: str = ""
    trained: bool = True
    license: str = ""
    source_sha256: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.trained, bool):
            raise ConfigError(f"ModelConfig.trained must be true or false, got {self.trained!r}")
        for name in ("name", "license", "source_sha256"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"ModelConfig.{name} must be a text, got {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with the format's version and kind first."""
        return {"format_version": FORMAT_VERSION, "model_type": "endofm", **asdict(self)}

    def to_json(self) -> str:
        """Return the text of ``config.json``."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: object, *, where: str = "config") -> ModelConfig:
        """Build a configuration from the values of ``config.json``.

        Args:
            values: What :meth:`to_dict` returns.
            where: Name of the file, for messages.

        Raises:
            ConfigError: If the values are not those of an endofm model, or a field is unknown or not valid.
        """
        if not isinstance(values, Mapping) or values.get("model_type") != "endofm":
            raise ConfigError(
                f'{where}: this is not the configuration of an endofm model (no "model_type": "endofm" in it)'
            )
        rest = dict(values)
        version = rest.pop("format_version", None)
        del rest["model_type"]
        if version != FORMAT_VERSION:
            raise ConfigError(
                f"{where}: format_version {version!r} cannot be read by this release, which reads "
                f"{FORMAT_VERSION}; update endofm"
            )
        for key, part in (("encoder", EncoderConfig), ("preprocess", PreprocessConfig)):
            if key in rest:
                rest[key] = _from_mapping(part, rest[key], f"{where}: {key}")
        return _from_mapping(cls, rest, where)

    @classmethod
    def from_file(cls, path: str | Path) -> ModelConfig:
        """Read ``config.json``.

        Raises:
            ConfigError: If the file is missing, is not JSON or does not describe an endofm model.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: there is no such configuration file") from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not a readable JSON file ({error})") from error
        return cls.from_dict(values, where=str(path))
