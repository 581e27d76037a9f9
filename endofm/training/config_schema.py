"""Frozen dataclasses from plain values, checked against their type hints, and back.

A configuration is a frozen dataclass whose fields are plain values, tuples, mappings by name, or further dataclasses.
Every value has one dotted key (``run.batch_size``), which messages name and the command line sets.

A field that may hold one of several dataclasses is selected by their field ``name``, a ``Literal``::

    objective: EndoFM | VCL        # in YAML   objective: vcl        or   objective: {name: vcl, queue_size: 1024}
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from endofm.errors import ConfigError, quoted

T = TypeVar("T")

_RESUME_SAFE = "endofm.resume_safe"

_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a path",
}


def resume_safe(default: Any) -> Any:
    """Declare a field that may change when a run is resumed, because no result depends on it."""
    return dataclasses.field(default=default, metadata={_RESUME_SAFE: True})


def is_resume_safe(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field was declared with :func:`resume_safe`."""
    return bool(field.metadata.get(_RESUME_SAFE))


def build_config(cls: type[T], values: Mapping[str, Any], *, source: str, overridden: Collection[str] = ()) -> T:
    """Build a configuration from plain values.

    Args:
        cls: Frozen dataclass.
        values: Plain values by key, nested like the dataclass; missing keys take their defaults.
        source: Name of the file, for messages.
        overridden: Dotted keys set on the command line, which messages name instead of the file.

    Raises:
        ConfigError: If a key is unknown, or a value is of the wrong type or invalid.
    """
    built: T = _Builder(source, overridden).dataclass(cls, values, "")
    return built


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain values that YAML and JSON can represent."""
    return {f.name: _to_plain(getattr(config, f.name)) for f in fields(config) if f.init}


def without_resume_safe(values: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return plain values without the settings that may change when a run is resumed.

    Args:
        values: Plain values of this or an earlier configuration of the same class.
        config: The configuration whose fields say which settings are resume-safe.
    """
    kept = dict(values)
    for f in fields(config):
        if is_resume_safe(f):
            kept.pop(f.name, None)
        elif is_dataclass(part := getattr(config, f.name)) and isinstance(kept.get(f.name), Mapping):
            kept[f.name] = without_resume_safe(kept[f.name], part)
    return kept


class _Builder:
    """Recursive conversion of plain values; the methods follow the kinds of type hints.

    Args:
        source: Name of the file, for messages.
        overridden: Dotted keys set on the command line.
    """

    def __init__(self, source: str, overridden: Collection[str]) -> None:
        self.source, self.overridden = source, overridden

    def dataclass(self, cls: type[Any], values: Any, key: str, base: Any = None) -> Any:
        """Build a dataclass; fields without a value come from ``base``, or else from the defaults."""
        if not isinstance(values, Mapping):
            raise self.error(key, f"expected the fields of {cls.__name__}, got {quoted(values)}")
        hints = get_type_hints(cls)
        known = {f.name: f for f in fields(cls) if f.init}
        # A default of the same class keeps its own values: `optim.betas=...` must not reset `optim.lr`.
        start = base if type(base) is cls else None
        built = {name: getattr(start, name) for name in known} if start is not None else {}
        for name, value in values.items():
            dotted = f"{key}.{name}" if key else str(name)
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
                raise self.error(dotted, f"there is no such setting; {hint}")
            default = built.get(name, _default(known[name]))
            built[name] = self.value(hints[name], value, dotted, default)
        missing = [f.name for f in known.values() if f.name not in built and _default(f) is MISSING]
        if missing:
            raise self.error(f"{key}.{missing[0]}" if key else missing[0], "this setting has no default; give a value")
        try:
            return cls(**built)
        except ConfigError as error:  # raised by __post_init__, which does not know the key
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
                raise self.error(key, f"expected names and values, got {quoted(value)}")
            _, inner = get_args(hint)
            return {str(name): self.value(inner, item, f"{key}.{name}") for name, item in value.items()}
        if is_dataclass(hint):
            assert isinstance(hint, type)
            if isinstance(value, hint):
                return value
            return self.dataclass(hint, {"name": value} if _is_named(hint, value) else value, key, default)
        return self.scalar(hint, value, key)

    def union(self, hints: tuple[Any, ...], value: Any, key: str, default: Any) -> Any:
        """Accept None, the dataclass selected by ``name``, or the first type that fits."""
        if value is None and types.NoneType in hints:
            return None
        classes = [hint for hint in hints if is_dataclass(hint)]
        if isinstance(value, tuple(c for c in classes if isinstance(c, type))):
            return value
        if len(classes) > 1:
            return self.named(classes, value, key, default)
        # Settings by name can only be those of the class, whose message is more precise than a list of types.
        if classes and isinstance(value, Mapping):
            return self.value(classes[0], value, key, default)
        problems = []
        for hint in hints:
            if hint is types.NoneType:
                continue
            try:
                return self.value(hint, value, key, default)
            except ConfigError as error:
                problems.append(error)
        # `int | None` has one real alternative, whose own message is the most precise one.
        if len(problems) == 1:
            raise problems[0]
        alternatives = [_type_name(hint) for hint in hints]
        raise self.error(key, f"expected {', '.join(alternatives[:-1])} or {alternatives[-1]}, got {quoted(value)}")

    def named(self, classes: Sequence[Any], value: Any, key: str, default: Any) -> Any:
        """Build the dataclass selected by ``name``; without a name, the class of the default."""
        names = {name: cls for cls in classes for name in get_args(get_type_hints(cls).get("name"))}
        given = value if isinstance(value, str) else value.get("name") if isinstance(value, Mapping) else None
        if given is None and isinstance(value, Mapping) and type(default) in classes:
            return self.dataclass(type(default), value, key, default)
        if not isinstance(given, str) or given not in names:
            close = difflib.get_close_matches(str(given), names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise self.error(f"{key}.name", f"must be one of {', '.join(names)}, got {quoted(given)}{hint}")
        rest = {"name": value} if isinstance(value, str) else value
        base = default if getattr(default, "name", None) == given else None
        return self.dataclass(names[given], rest, key, base)

    def choice(self, allowed: tuple[Any, ...], value: Any, key: str) -> Any:
        """Check a value against a list of allowed ones."""
        for item in allowed:
            # The types are compared too: in Python 1 == True and 1 == 1.0.
            if value == item and type(value) is type(item):
                return item
        close = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise self.error(key, f"must be one of {', '.join(map(str, allowed))}, got {quoted(value)}{hint}")

    def tuple(self, hints: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
        """Convert a list; where any length is allowed, a single string or number stands for a list of one."""
        any_length = len(hints) == 2 and hints[1] is Ellipsis
        if any_length and isinstance(value, (str, int, float, Path)):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise self.error(key, f"expected a list, got {quoted(value)}")
        if not any_length and len(value) != len(hints):
            raise self.error(key, f"expected a list of {len(hints)}, got {len(value)}: {quoted(value)}")
        inner = [hints[0]] * len(value) if any_length else hints
        return tuple(self.value(h, v, f"{key}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True)))

    def scalar(self, hint: Any, value: Any, key: str) -> Any:
        """Check a number, string, boolean or path."""
        # YAML 1.1 reads 1e-4, without a point, as a string.
        if hint is float and isinstance(value, str):
            with suppress(ValueError):
                value = float(value)
        # bool is a subclass of int, and true is not a number of anything.
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if hint is Path and isinstance(value, str):
            return Path(value)
        if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
            return value
        raise self.error(key, f"expected {_type_name(hint)}, got {quoted(value)}")

    def error(self, key: str, message: str) -> ConfigError:
        """Return an error that names the key and whether it was set in the file or on the command line."""
        on_command_line = any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in self.overridden)
        source = "command line" if on_command_line else self.source
        return ConfigError(f"{source}: {key}: {message}" if key else f"{source}: {message}")


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _is_named(cls: type[Any], value: Any) -> bool:
    return isinstance(value, str) and value in get_args(get_type_hints(cls).get("name"))


def _type_name(hint: Any) -> str:
    if hint is types.NoneType:
        return "null"
    return _TYPE_NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _to_plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, (tuple, list)):
        return [_to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _to_plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value
