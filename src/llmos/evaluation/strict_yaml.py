"""YAML as dataclasses, checked as recipes are: wrong keys and values are named in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from llmos.errors import UsageError


def make(kind: Any, values: Any, at: str) -> Any:
    """A dataclass from a mapping, its types checked; `at` says where the mapping stands.

    Raises `UsageError` for unknown, missing and mistyped keys, in one line with the nearest name.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{at or 'the suite'} is {_short(values)}, not keys with values: see docs")
    known = {one.name: one for one in fields(kind)}
    hints = get_type_hints(kind)
    for name in values:
        if name not in known:
            raise UsageError(f"{_join(at, name)} is not known: {nearest(str(name), list(known))}")
    missing = [
        name
        for name, one in known.items()
        if name not in values and one.default is MISSING and one.default_factory is MISSING
    ]
    if missing:
        raise UsageError(f"{_join(at, missing[0])} is missing: give it")
    return kind(**{n: _value(hints[n], value, _join(at, n)) for n, value in values.items()})


def _value(kind: Any, value: Any, at: str) -> Any:
    origin = get_origin(kind)
    if origin is UnionType:
        for one in get_args(kind):
            if _shape(one, value):
                return _value(one, value, at)
    elif origin is tuple:
        if isinstance(value, list):
            inner = get_args(kind)[0]
            return tuple(_value(inner, v, f"{at}[{i}]") for i, v in enumerate(value))
    elif origin is not None and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            inner = get_args(kind)[1]
            return {str(k): _value(inner, v, _join(at, k)) for k, v in value.items()}
    elif isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        return make(kind, value, at)
    elif kind is Any or type(value) is kind:
        return value
    elif kind is float and type(value) is int:
        return float(value)
    if kind is str:
        raise UsageError(f"{at} is {_short(value)}, not a text: put it in quotes")
    named = getattr(kind, "__name__", str(kind))
    raise UsageError(f"{at} is {_short(value)}, not {named}: mend it")


def _shape(kind: Any, value: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, list)
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        return isinstance(value, Mapping)
    return type(value) is kind


def _join(at: str, name: object) -> str:
    return f"{at}.{name}" if at else str(name)


def _short(value: Any) -> str:
    return repr(value)[:40]


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the name that was meant."""
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"


def parsed(text: str) -> Any:
    """What a YAML text says. Raises `UsageError`, also for a key given twice."""
    try:
        import yaml
    except ImportError as error:
        raise UsageError("suites need PyYAML: pip install llmos[evaluate]") from error

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Any, node: Any) -> Any:
        names = [key.value for key, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            line = node.start_mark.line + 1
            raise UsageError(f"the key {twice[0]!r} stands twice below line {line}: remove one")
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"is not YAML ({' '.join(str(error).split())}): mend it") from error
