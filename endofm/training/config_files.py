"""Configurations from YAML files and ``key=value`` overrides, and back to YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from endofm.errors import ConfigError, quoted
from endofm.training.config_schema import build_config, to_dict

T = TypeVar("T")

# Limits on YAML, generous for settings: aliases let a short text stand for billions of values.
_LARGEST_TEXT = 1_000_000
_DEEPEST = 40
_MOST_VALUES = 20_000

# Besides its own errors, PyYAML raises those of Python for impossible dates, numbers and keys.
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, AttributeError)


def load_config(cls: type[T], source: str | Path | Mapping[str, Any] | None, overrides: Sequence[str] = ()) -> T:
    """Load a configuration.

    Args:
        cls: Frozen dataclass; see :mod:`endofm.training.config_schema`.
        source: YAML file, or its content as a mapping; None for the defaults alone.
        overrides: Strings ``dotted.key=value``, each value written as in YAML. They win over the source, later ones
            over earlier ones.

    Returns:
        An instance of ``cls``; settings that are not given have their defaults.

    Raises:
        ConfigError: If the file cannot be read, a key is unknown, or a value is of the wrong type or invalid. The
            message names the key, and the file or the command line.
    """
    name = str(source) if isinstance(source, (str, Path)) else "configuration"
    values = read_yaml(source) if isinstance(source, (str, Path)) else dict(source or {})
    overridden: set[str] = set()
    for text in overrides:
        key, value = _parse_override(text)
        _set(values, key, value)
        overridden.add(key)
    return build_config(cls, values, source=name, overridden=overridden)


def to_yaml(config: Any) -> str:
    """Return a configuration as YAML that :func:`load_config` reads back to an equal one."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=120)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; duplicate keys are refused.

    Raises:
        ConfigError: If the file is missing, is not YAML, or holds something else.
    """
    path = Path(path)
    try:
        values = _parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such configuration file") from error
    except (OSError, *_YAML_ERRORS) as error:
        raise ConfigError(f"{path}: not a readable YAML file ({error})") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path}: expected `key: value` lines at the top, got {quoted(values)}")
    return values


def _parse(text: str) -> Any:
    """Return the value of a YAML text within limits; aliases may repeat values, but not without bounds.

    Raises:
        One of ``_YAML_ERRORS``.
    """
    if len(text) > _LARGEST_TEXT:
        raise yaml.YAMLError(f"more than {_LARGEST_TEXT:,} characters")
    # Events come without recursion and without the contents of aliases, so that limits apply before anything is built.
    depth = total = 0
    sizes: dict[str, int] = {}
    open_collections: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(f"the alias {quoted(event.anchor)} stands inside what it names, or names nothing")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            anchor, before = open_collections.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                open_collections.append((event.anchor, total - 1))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
        if depth > _DEEPEST or total > _MOST_VALUES:
            raise yaml.YAMLError(f"nested deeper than {_DEEPEST} levels, or more than {_MOST_VALUES:,} values")
    return yaml.load(text, Loader=_UniqueKeyLoader)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader (no Python objects) that refuses duplicate keys, of which YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {quoted(key)} is given twice", node.value[index][0].start_mark
                )
        return super().construct_mapping(node, deep)


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise ConfigError(f"command line: {quoted(text)}: expected key=value, for example run.batch_size=16")
    try:
        return key, _parse(value)
    except _YAML_ERRORS as error:
        raise ConfigError(f"command line: {key}: {quoted(value)} is not a YAML value ({error})") from error


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested mappings.

    A parent given as a name alone becomes a mapping with that name: after ``objective: vcl`` in the file,
    ``objective.queue_size=8`` adds to it.
    """
    *path, last = key.split(".")
    for part in path:
        inner = values.get(part)
        inner = {"name": inner} if isinstance(inner, str) else dict(inner) if isinstance(inner, Mapping) else {}
        values[part] = inner
        values = inner
    values[last] = value
