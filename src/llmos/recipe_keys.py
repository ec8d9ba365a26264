"""The keys of a recipe as a table, the check of one value, and the nearest known name."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any, get_type_hints

from llmos.errors import RecipeError
from llmos.recipe_about import About

SAFE_INTEGER = 2**53
"""Beyond it, integers are not the same number in every JSON reader (RFC 8785, 3.2.2.3)."""

# Control characters can rewrite a terminal's line, and bidirectional overrides its order.
HIDDEN_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
LONGEST_TEXT = 4000
TYPE_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    tuple: 'a list of texts such as ["a", "b"]',
}


@dataclass(frozen=True)
class Key:
    """One key: `name` is dotted (`training.learning_rate`), `kind` one of `TYPE_WORDS`."""

    name: str
    kind: type
    default: Any
    about: About

    @property
    def required(self) -> bool:
        """Whether a recipe without this key is refused."""
        return self.default is MISSING

    @property
    def next_step(self) -> str:
        """What to do about a value that does not fit."""
        if self.required:
            return "change the value"
        return f"change it, or leave the line out for the default {shown(self.default)}"

    def refuse(self, value: Any, why: str) -> RecipeError:
        """The error for `value` of this key, in one line."""
        return RecipeError(f"{self.name} = {shown(value)} {why}: {self.next_step}")


def keys_of(recipe: type) -> dict[str, Key]:
    """Every key of a recipe class by dotted name, in the order of the classes."""
    table: dict[str, Key] = {}

    def add(cls: type, prefix: str) -> None:
        kinds = get_type_hints(cls)
        for field in fields(cls):
            kind = kinds[field.name]
            if is_dataclass(kind):
                assert isinstance(kind, type)
                add(kind, f"{field.name}.")
                continue
            kind = tuple if kind == tuple[str, ...] else kind
            name = prefix + field.name
            table[name] = Key(name, kind, field.default, field.metadata["about"])

    add(recipe, "")
    return table


def shown(value: Any) -> str:
    """`value` for an error message: one line, at most about 60 characters, nothing hidden."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > 10**30:
        return f"(a whole number of {value.bit_length()} bits)"
    if isinstance(value, str):
        value = value[:200]
    elif isinstance(value, Mapping):
        return "{...}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(item) for item in value[:20]) + "]"
        return text if len(text) <= 60 else text[:57] + "..."
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def shown_name(name: str) -> str:
    """A key or path as it is when it is plain, else quoted with escapes; at most 60 characters."""
    return name if name.isprintable() and 0 < len(name) <= 60 else shown(name)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name` (difflib's ratio, at least 0.6), or None."""
    plain = name[:80].lower().replace("-", "_")
    found = difflib.get_close_matches(plain, list(known), n=1)
    return found[0] if found else None


def nearest_key(name: str, table: Mapping[str, Key]) -> str | None:
    """The key that a wrong dotted `name` most likely means: in its section, else in any."""
    section, _, leaf = name.rpartition(".")
    prefix = section + "." if section else ""
    here = [key[len(prefix) :] for key in table if key.startswith(prefix)]
    found = nearest(leaf, (key for key in here if "." not in key))
    if found is not None:
        return prefix + found
    leaves = {key.rpartition(".")[2]: key for key in table}
    found = nearest(leaf, leaves)
    return leaves[found] if found is not None else None


def check_value(key: Key, value: Any) -> Any:
    """`value` in the type of `key`: an int becomes a float and a list a tuple where that is meant.

    Raises `RecipeError` with the key, the value, what is wrong with it, and what to do.
    """
    return CHECKS[key.kind](key, value)


def _check_type(key: Key, value: Any, accepted: type | tuple[type, ...]) -> None:
    # In Python a bool is an int; in a recipe it is not.
    if not isinstance(value, accepted) or (isinstance(value, bool) and key.kind is not bool):
        raise key.refuse(value, f"is not {TYPE_WORDS[key.kind]}")


def _check_range(key: Key, value: float) -> None:
    about = key.about
    fits = (
        (about.minimum is None or value >= about.minimum)
        and (about.maximum is None or value <= about.maximum)
        and (about.above is None or value > about.above)
        and (about.below is None or value < about.below)
        and abs(value) <= SAFE_INTEGER
    )
    if not fits:
        raise key.refuse(value, f"is not {range_words(about)}")


def range_words(about: About) -> str:
    """The range in words: `from 1 to 10`, `more than 0`; empty if there is none."""
    if about.minimum is not None and about.maximum is not None:
        return f"from {about.minimum:.15g} to {about.maximum:.15g}"
    bounds = [
        ("at least", about.minimum),
        ("more than", about.above),
        ("at most", about.maximum),
        ("less than", about.below),
    ]
    return " and ".join(f"{words} {number:.15g}" for words, number in bounds if number is not None)


def _check_bool(key: Key, value: Any) -> bool:
    _check_type(key, value, bool)
    return bool(value)


def _check_int(key: Key, value: Any) -> int:
    _check_type(key, value, int)
    _check_range(key, value)
    return int(value)


def _check_float(key: Key, value: Any) -> float:
    _check_type(key, value, (int, float))
    if not isinstance(value, int) and not math.isfinite(value):
        raise key.refuse(value, "is not a finite number")
    _check_range(key, value)
    return float(value) + 0.0  # makes -0.0 the one zero


def _check_str(key: Key, value: Any) -> str:
    _check_type(key, value, str)
    about = key.about
    if len(value) > LONGEST_TEXT:
        raise key.refuse(value, f"has {len(value)} characters, more than {LONGEST_TEXT}")
    if HIDDEN_CHARACTERS.search(value):
        raise key.refuse(value, "contains control characters")
    if about.choices and value not in about.choices:
        like = nearest(value, about.choices)
        meant = f" (did you mean {shown(like)}?)" if like else ""
        raise key.refuse(value, f"is not one of {', '.join(about.choices)}{meant}")
    if about.pattern and not re.fullmatch(about.pattern, value):
        raise key.refuse(value, f"is not {about.pattern_words}")
    return str(value)


def _check_list(key: Key, value: Any) -> tuple[str, ...]:
    _check_type(key, value, (list, tuple))
    fewest, most = key.about.items
    if not fewest <= len(value) <= most:
        raise key.refuse(value, f"has {len(value)} entries, not {fewest} to {most}")
    if not all(isinstance(item, str) for item in value):
        raise key.refuse(value, f"is not {TYPE_WORDS[tuple]}")
    item_key = replace(key, name=f"an item of {key.name}")
    items = tuple(_check_str(item_key, item) for item in value)
    repeated = next((item for item in items if items.count(item) > 1), None)
    if repeated is not None:
        raise key.refuse(value, f"names {shown(repeated)} twice")
    return items


CHECKS: Mapping[type, Callable[[Key, Any], Any]] = {
    bool: _check_bool,
    int: _check_int,
    float: _check_float,
    str: _check_str,
    tuple: _check_list,
}
