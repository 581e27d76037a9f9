"""Typed configuration: frozen dataclasses from YAML and the command line, and back.

A configuration is a frozen dataclass whose fields are plain values, tuples, mappings of names, or further dataclasses.
Every value has one dotted name (``run.batch_size``), which messages use and the command line sets.

A field that may hold one of several dataclasses is chosen by their field ``name``, a ``Literal``::

    objective: EndoFM | VCL        # in YAML   objective: vcl        or   objective: {name: vcl, queue: 1024}
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from endofm.errors import ConfigError

T = TypeVar("T")

_FREE = "endofm.free"
_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def free(default: Any) -> Any:
    """Declare a field that may change when a run is resumed, because no result depends on it."""
    return dataclasses.field(default=default, metadata={_FREE: True})


def is_free(field: dataclasses.Field[Any]) -> bool:
    """Say whether a field was declared with :func:`free`."""
    return bool(field.metadata.get(_FREE))


def load_config(cls: type[T], source: str | Path | Mapping[str, Any] | None, overrides: Sequence[str] = ()) -> T:
    """Build a configuration.

    Args:
        cls: Frozen dataclass.
        source: YAML file, or the values that one would hold; None for the defaults alone.
        overrides: Texts ``dotted.key=value``, each value written as in YAML; they win over the source, later ones over
            earlier ones.

    Returns:
        An instance of ``cls``; fields that nobody names have their defaults.

    Raises:
        ConfigError: If the file cannot be read, a key is unknown, or a value is of the wrong type or not valid. The
            message names the key, and the file or the command line.
    """
    where = str(source) if isinstance(source, (str, Path)) else "configuration"
    values = read_yaml(source) if isinstance(source, (str, Path)) else dict(source or {})
    overridden: set[str] = set()
    for text in overrides:
        key, value = _parse_override(text)
        _set(values, key, value)
        overridden.add(key)
    made: T = _Builder(where, overridden).dataclass(cls, values, "")
    return made


def to_dict(config: Any) -> dict[str, Any]:
    """Return the plain values of a configuration, as YAML or JSON can hold them."""
    return {f.name: _plain(getattr(config, f.name)) for f in fields(config) if f.init}


def to_yaml(config: Any) -> str:
    """Return a configuration as YAML that :func:`load_config` reads back to an equal one."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=120)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; a key that is given twice is refused.

    Raises:
        ConfigError: If the file is missing, is not YAML, or holds something else.
    """
    path = Path(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such configuration file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable YAML file ({error})") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path}: expected `key: value` lines at the top, got {values!r}")
    return values


def changed_keys(stored: Mapping[str, Any], config: Any) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ between a stored configuration and a new one, without those that are free.

    Args:
        stored: What :func:`to_dict` or :func:`read_yaml` returned for the old configuration.
        config: The new configuration.

    Returns:
        Old and new value by dotted key; None where a key is missing on one side.
    """
    ignored = set(_free_keys(config))
    old, new = dict(_flat(dict(stored))), dict(_flat(to_dict(config)))
    keys = sorted(
        key
        for key in {*old, *new}
        if old.get(key) != new.get(key) and not any(key == name or key.startswith(f"{name}.") for name in ignored)
    )
    return {key: (old.get(key), new.get(key)) for key in keys}


class _UniqueKeys(yaml.SafeLoader):
    """Reads YAML without building objects, and refuses a key that a mapping has twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", node.value[place][0].start_mark
                )
        return super().construct_mapping(node, deep)


class _Builder:
    """Turns plain values into dataclasses.

    Args:
        where: Name of the file, for messages.
        overridden: Keys that the command line set.
    """

    def __init__(self, where: str, overridden: set[str]) -> None:
        self.where, self.overridden = where, overridden

    def dataclass(self, cls: type[Any], values: Any, key: str, base: Any = None) -> Any:
        """Build a dataclass; fields that are not given come from ``base``, else from the defaults."""
        if not isinstance(values, Mapping):
            raise self.error(key, f"expected the fields of {cls.__name__}, got {values!r}")
        hints = get_type_hints(cls)
        known = {f.name: f for f in fields(cls) if f.init}
        start = base if type(base) is cls else None
        made = {name: getattr(start, name) for name in known} if start is not None else {}
        for name, value in values.items():
            dotted = f"{key}.{name}" if key else str(name)
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
                raise self.error(dotted, f"there is no such setting; {hint}")
            default = made.get(name, _default(known[name]))
            made[name] = self.value(hints[name], value, dotted, default)
        missing = [f.name for f in known.values() if f.name not in made and _default(f) is MISSING]
        if missing:
            raise self.error(f"{key}.{missing[0]}" if key else missing[0], "this setting has no default; give a value")
        try:
            return cls(**made)
        except ConfigError as error:
            raise self.error(key, str(error)) from error

    def value(self, hint: Any, value: Any, key: str, default: Any = MISSING) -> Any:
        """Check a value against a type hint and convert it."""
        origin = get_origin(hint)
        if hint is Any:
            return value
        if origin in (Union, types.UnionType):
            return self.union(get_args(hint), value, key, default)
        if origin is Literal:
            return self.choice(get_args(hint), value, key)
        if origin is tuple:
            return self.tuple(get_args(hint), value, key)
        if origin in (dict, Mapping) or origin is types.MappingProxyType:
            if not isinstance(value, Mapping):
                raise self.error(key, f"expected names and values, got {value!r}")
            _, inner = get_args(hint)
            return {str(name): self.value(inner, item, f"{key}.{name}") for name, item in value.items()}
        if is_dataclass(hint):
            assert isinstance(hint, type)
            if isinstance(value, hint):
                return value
            return self.dataclass(hint, {"name": value} if _is_named(hint, value) else value, key, default)
        return self.scalar(hint, value, key)

    def union(self, hints: tuple[Any, ...], value: Any, key: str, default: Any) -> Any:
        """Take None, the dataclass whose ``name`` is given, or the first type that fits."""
        if value is None and types.NoneType in hints:
            return None
        classes = [hint for hint in hints if is_dataclass(hint)]
        if isinstance(value, tuple(c for c in classes if isinstance(c, type))):
            return value
        if len(classes) > 1:
            return self.named(classes, value, key, default)
        problems = []
        for hint in hints:
            if hint is types.NoneType:
                continue
            try:
                return self.value(hint, value, key, default)
            except ConfigError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        words = [_word(hint) for hint in hints]
        raise self.error(key, f"expected {', '.join(words[:-1])} or {words[-1]}, got {value!r}")

    def named(self, classes: Sequence[Any], value: Any, key: str, default: Any) -> Any:
        """Build the one of several dataclasses whose name is given; without a name, that of the default."""
        names = {name: cls for cls in classes for name in get_args(get_type_hints(cls).get("name"))}
        given = value if isinstance(value, str) else value.get("name") if isinstance(value, Mapping) else None
        if given is None and isinstance(value, Mapping) and type(default) in classes:
            return self.dataclass(type(default), value, key, default)
        if given not in names:
            close = difflib.get_close_matches(str(given), names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise self.error(f"{key}.name", f"must be one of {', '.join(names)}, got {given!r}{hint}")
        rest = {"name": value} if isinstance(value, str) else value
        base = default if getattr(default, "name", None) == given else None
        return self.dataclass(names[given], rest, key, base)

    def choice(self, allowed: tuple[Any, ...], value: Any, key: str) -> Any:
        """Check a value against a list of allowed ones."""
        for item in allowed:
            if value == item and type(value) is type(item):
                return item
        close = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise self.error(key, f"must be one of {', '.join(map(str, allowed))}, got {value!r}{hint}")

    def tuple(self, hints: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
        """Convert a list; a single text or number stands for a list of one where any length is allowed."""
        any_length = len(hints) == 2 and hints[1] is Ellipsis
        if any_length and isinstance(value, (str, int, float, Path)):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f"expected a list, got {value!r}")
        if not any_length and len(value) != len(hints):
            raise self.error(key, f"expected a list of {len(hints)}, got {len(value)}: {value!r}")
        inner = [hints[0]] * len(value) if any_length else hints
        return tuple(self.value(h, v, f"{key}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True)))

    def scalar(self, hint: Any, value: Any, key: str) -> Any:
        """Check a number, text, truth value or path. Numbers such as 1e-4 are texts in YAML 1.1 and read here."""
        if hint is float and isinstance(value, str):
            with suppress(ValueError):
                value = float(value)
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if hint is Path and isinstance(value, str):
            return Path(value)
        if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
            return value
        raise self.error(key, f"expected {_word(hint)}, got {value!r}")

    def error(self, key: str, text: str) -> ConfigError:
        """Return an error that names the key and where it was set."""
        by_hand = any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in self.overridden)
        where = "command line" if by_hand else self.where
        return ConfigError(f"{where}: {key}: {text}" if key else f"{where}: {text}")


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise ConfigError(f"command line: {text!r}: expected key=value, for example run.batch_size=16")
    try:
        return key, yaml.load(value, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"command line: {key}: {value!r} is not a YAML value ({error})") from error


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; what lies above it and is only a name becomes a mapping with that name."""
    *path, last = key.split(".")
    for part in path:
        inner = values.get(part)
        inner = {"name": inner} if isinstance(inner, str) else dict(inner) if isinstance(inner, Mapping) else {}
        values[part] = inner
        values = inner
    values[last] = value


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _is_named(cls: type[Any], value: Any) -> bool:
    return isinstance(value, str) and value in get_args(get_type_hints(cls).get("name"))


def _word(hint: Any) -> str:
    if hint is types.NoneType:
        return "null"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _free_keys(config: Any, prefix: str = "") -> Iterator[str]:
    for f in fields(config):
        value = getattr(config, f.name)
        if is_free(f):
            yield f"{prefix}{f.name}"
        elif is_dataclass(value):
            yield from _free_keys(value, f"{prefix}{f.name}.")
