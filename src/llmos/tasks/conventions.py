"""What a model folder says of how its model wants to be asked.

`llmos.json` may hold the words of a task, which then go before the task's own:

    {"tasks": {"translation": "translate English to French: {text}"}}

In braces stand the task's fields (and its words, such as `to_name`). Without it, an encoder-decoder
that a recipe of ours trained (`recipe.toml` in the folder, objective seq2seq) reads the bare text:
that is what it was trained on; any other is asked as T5 was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmos.errors import ModelError
from llmos.models.engines.engine import Engine
from llmos.recipe import load_recipe

FILE = "llmos.json"
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Conventions:
    """templates: by task; is_bare: whether an encoder-decoder reads the text without any words."""

    templates: Mapping[str, str] = field(default_factory=dict)
    is_bare: bool = False


def conventions_of(engine: Engine) -> Conventions:
    """What the folder of an engine says, if it has one (the attribute `folder`).

    Raises `ModelError` for a file that is not in order.
    """
    folder = getattr(engine, "folder", None)
    if folder is None:
        return Conventions()
    recipe = Path(folder) / "recipe.toml"
    is_bare = recipe.exists() and load_recipe(recipe).objective.name == "seq2seq"
    return Conventions(_templates(Path(folder) / FILE), is_bare)


def _templates(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8")).get("tasks", {})
        templates = {str(name): text for name, text in found.items()}
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{file} is not a JSON object with tasks ({error}): mend it") from error
    for name, text in templates.items():
        if not isinstance(text, str):
            raise ModelError(f"{file} has no text for the task {name!r}: write its words")
    return templates


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with `values` in its places; braces in the values stay as they are.

    Raises `ModelError` for a place that has no value.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ModelError(
                f"the words {template[:60]!r} name {found[0]}, which this task has not: use "
                + ", ".join(f"{{{name}}}" for name in values)
            )
        return values[found[1]]

    return _PLACE.sub(value, template)
