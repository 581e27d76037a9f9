"""Reference table of settings, generated from the configuration dataclasses and their docstrings.

The layout of these docstrings is therefore an interface. For every configuration dataclass,

- the first line of the docstring describes the class, where it is one of several alternatives;
- every field has an entry ``name: meaning`` in a section ``Attributes:``, indented by 8 spaces; further lines of the
  entry are indented by 12 or more;
- a field that a base class documents need not be documented again, but may be, in other words;
- the meaning may contain double backquotes and roles such as ``:class:``, which become plain Markdown.

``tests/training/test_settings_table.py`` checks that no setting of the commands lacks a meaning.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from endofm.training.config_schema import is_resume_safe


def settings_table(cls: type[Any]) -> str:
    """Return a Markdown table of every setting of a configuration: name, type, default, meaning.

    Settings that may change when a run is resumed are marked with a star. A field that can hold one of several
    dataclasses has a block of rows for each; rows that equal one of an earlier block are not repeated.

    Args:
        cls: The configuration's dataclass.
    """
    rows = ["| setting | values | default | meaning |", "|---|---|---|---|", *_rows(cls, "", None)]
    return "\n".join(rows)


def _rows(cls: type[Any], prefix: str, instance: Any) -> Iterator[str]:
    meanings, hints = _meanings(cls), get_type_hints(cls)
    for f in fields(cls):
        if not f.init:
            continue
        key = f"{prefix}{f.name}"
        parts = [hint for hint in _members(hints[f.name]) if is_dataclass(hint)]
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        default = getattr(instance, f.name, default)
        meaning = meanings.get(f.name, "")
        if not parts:
            star = "*" if is_resume_safe(f) else ""
            yield f"| `{key}`{star} | {_type_description(hints[f.name])} | {_format_default(default)} | {meaning} |"
            continue
        optional = " (or null)" if default is None else ""
        yield f"| **`{key}`**{optional} | | | {meaning} |"
        seen: set[str] = set()
        for part in parts:
            assert isinstance(part, type)
            names = get_args(get_type_hints(part).get("name")) if len(parts) > 1 else ()
            if names:
                yield f"| *`{key}: {names[0]}`* | | | {_summary(part)} |"
            rows = list(_rows(part, f"{key}.", default if type(default) is part else None))
            yield from (row for row in rows if row not in seen)
            seen.update(rows)


def _meanings(cls: type[Any]) -> dict[str, str]:
    """Return the entries under ``Attributes:`` in the docstrings of a dataclass and its bases."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):  # the class itself last, so that its own entries win
        _, _, section = (base.__dict__.get("__doc__") or "").partition("Attributes:\n")
        # "        name: text" and its continuation lines, which are indented further.
        entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12,}.*)*)", section, re.MULTILINE)
        meanings |= {name: re.sub(r"\s+", " ", text).replace("``", "`").replace("|", "\\|") for name, text in entries}
    # :class:`~endofm.config.EncoderConfig` becomes `EncoderConfig`.
    return {name: re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text) for name, text in meanings.items()}


def _summary(cls: type[Any]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0].replace("``", "`")


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _type_description(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_description(arg) for arg in args)
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin is tuple:
        return (
            f"list of {_type_description(args[0])}"
            if args[-1] is Ellipsis
            else f"{len(args)} x {_type_description(args[0])}"
        )
    if origin is dict:
        return f"names with {_type_description(args[1])}"
    names = {bool: "true or false", int: "integer", float: "number", str: "string", Path: "path"}
    return "null" if hint is types.NoneType else names.get(hint, getattr(hint, "__name__", str(hint)))


def _format_default(value: Any) -> str:
    if value is MISSING:
        return "required"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(str(item) for item in value)}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if value != "" else "empty"
