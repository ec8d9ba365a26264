"""A recipe as commented TOML, and all keys as the Markdown of docs/recipe.md."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from llmos.recipe_keys import TYPE_WORDS, Key, range_words


def toml_value(value: bool | int | float | str | tuple[str, ...]) -> str:
    """`value` as TOML 1.0; the texts must be free of control characters, as checked ones are."""
    if isinstance(value, str):
        # A JSON string without control characters is a TOML basic string.
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return str(value).lower()


def explanation(key: Key, *, ranges: bool = True) -> str:
    """The meaning of one key with its unit and choices, and its range unless left out."""
    about = key.about
    choices = ""
    # Choices that the meaning already spells out are not listed twice.
    if about.choices and not all(choice in about.doc for choice in about.choices):
        choices = ", ".join(about.choices)
    notes = [about.unit, choices, *([range_words(about), about.pattern_words] if ranges else [])]
    extra = "; ".join(note for note in notes if note)
    return about.doc + (f" ({extra})" if extra else "")


def recipe_toml(
    values: Mapping[str, Any], table: Mapping[str, Key], sections: Mapping[str, str], comments: bool
) -> str:
    """All `values` (dotted name to value) as TOML, section by section."""
    lines: list[str] = []
    current = ""
    for name, key in table.items():
        section, _, leaf = name.rpartition(".")
        if section != current:
            current = section
            title = f"# {sections[section]}\n" if comments else ""
            lines.append(f"\n{title}[{section}]")
        if comments:
            lines += textwrap.wrap(
                explanation(key, ranges=False), 98, initial_indent="# ", subsequent_indent="#   "
            )
        lines.append(f"{leaf} = {toml_value(values[name])}")
    return "\n".join(lines) + "\n"


def recipe_markdown(table: Mapping[str, Key], sections: Mapping[str, str]) -> str:
    """docs/recipe.md: every key with type, default and meaning, one table a section."""
    parts = [INTRODUCTION]
    for section in ("", *sections):
        keys = [key for key in table.values() if key.name.rpartition(".")[0] == section]
        title = f"## [{section}]\n\n{sections[section]}" if section else "## Top of the file"
        parts.append(f"{title}\n\n{_table(keys)}")
    return "\n\n".join(parts) + "\n"


def _table(keys: Iterable[Key]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in keys:
        default = "required" if key.required else f"`{toml_value(key.default)}`"
        kind = TYPE_WORDS[key.kind].partition(" such as")[0]
        leaf = key.name.rpartition(".")[2]
        rows.append(f"| `{leaf}` | {kind} | {default} | {explanation(key)} |")
    return "\n".join(rows)


INTRODUCTION = """\
# The recipe: every key

<!-- Made by `make docs` (`llmos recipe keys`) from src/llmos/recipe_schema.py,
     recipe_preparation.py and recipe_joint.py: change it there. -->

A recipe is the TOML file that the members of a joint run agree on. It is data: it names only
components that LLMOS has, and cannot execute anything. A key that is left out has its default;
an unknown or ill-typed key is refused. What the members sign is the sha256 of the canonical form:
all keys, defaults filled in, as RFC 8785 JSON (keys that came later are left out while they have
their default, so that older recipes keep their sha256). Comments, order and spelling of numbers
do not change it.

```
llmos recipe new my-run.toml      # a commented recipe with all defaults
llmos recipe check my-run.toml    # its name and sha256, or what is wrong with it
llmos recipe show my-run.toml     # every key and its value
llmos recipe diff a.toml b.toml   # what is not the same
```"""
