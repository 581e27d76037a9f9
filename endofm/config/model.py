"""Everything that ``config.json`` says about a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from endofm.config.adapter import STAdapterConfig
from endofm.config.checks import from_mapping, require_bool, require_str
from endofm.config.encoder import EncoderConfig
from endofm.config.head import HeadConfig
from endofm.config.preprocess import PreprocessConfig
from endofm.errors import ConfigError
from endofm.task_table import FEATURES, get_task, task_names

FORMAT_VERSION = 1
"""Version of the ``config.json`` layout; raised when an older reader would misread a newer file."""

_NEWER: dict[str, Any] = {"attention_type": "divided_space_time", "st_adapter": None}


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
        head: What follows the encoder; None for the encoder alone, whose task is ``"features"``.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
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
            raise ConfigError(f"ModelConfig.head must be None or the head configuration of {heads}; got {self.head!r}")

    @property
    def task(self) -> str:
        """What the model gives: ``"features"`` or the task of its head."""
        return self.head.task if self.head else FEATURES

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with the format's version and kind first."""
        values = {"format_version": FORMAT_VERSION, "model_type": "endofm", **asdict(self)}
        # What an encoder need not have is written only where it has it, so that older releases can read the rest.
        for key, plain in _NEWER.items():
            if values["encoder"][key] == plain:
                del values["encoder"][key]
        if self.head is None:
            del values["head"]
            return values
        return {**values, "task": self.task}

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
        encoder = rest.get("encoder")
        if isinstance(encoder, Mapping) and encoder.get("st_adapter") is not None:
            adapter = from_mapping(STAdapterConfig, encoder["st_adapter"], f"{where}: encoder: st_adapter")
            rest["encoder"] = {**encoder, "st_adapter": adapter}
        for key, part in (("encoder", EncoderConfig), ("preprocess", PreprocessConfig)):
            if key in rest:
                rest[key] = from_mapping(part, rest[key], f"{where}: {key}")
        task = rest.pop("task", FEATURES)
        if task not in task_names():
            raise ConfigError(f"{where}: unknown task {task!r}; this release knows {', '.join(task_names())}")
        head = rest.pop("head", None)
        if (head is None) != (task == FEATURES):
            raise ConfigError(
                f"{where}: the task {task!r} {'needs a' if head is None else 'has no'} description of a head"
            )
        if head is not None:
            rest["head"] = from_mapping(get_task(task).load("head_config"), head, f"{where}: head")
        return from_mapping(cls, rest, where)

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


def _is_head(head: object) -> bool:
    """Whether an object is the head configuration of the task that it names."""
    task = getattr(head, "task", "")
    return task in task_names() and type(head) is get_task(task).load("head_config")
