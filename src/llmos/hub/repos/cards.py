"""The YAML head of a card (README.md), read safely: whatever a stranger wrote there, reading it
takes bounded time and memory, and what comes back can be stored as JSON."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

HEAD = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?^---", re.DOTALL | re.MULTILINE)
LONGEST_HEAD = 512 << 10  # characters; cards with thousands of scores have about 200,000
DEEPEST = 40
MOST_VALUES = 100_000  # after aliases are followed: twelve lines of YAML can stand for 10^12
MERGE = "tag:yaml.org,2002:merge"


class CardError(ValueError):
    """A head that cannot be read; the message says why, in a line or a few."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2's core schema, as the Hugging Face hub reads cards: `no` is Norwegian, not false;
    dates and 1:30 stay text."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys (`<<`) are left as they are: a few lines of them fill the memory."""


def _number(loader: Any, node: yaml.ScalarNode) -> int | float | str:
    text = str(node.value)
    try:
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    except ValueError:
        return text


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {**yaml.SafeLoader.yaml_constructors}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )
_Loader.add_constructor("tag:yaml.org,2002:int", _number)


def head_of(text: str) -> str | None:
    """The YAML between the two `---` lines at the start of a card; None when there is none.

    Raises `CardError` when it is longer than any real card's.
    """
    found = HEAD.match(text[: LONGEST_HEAD + 100])
    if found is None:
        if len(text) > LONGEST_HEAD and text[:100].lstrip().startswith("---"):
            raise CardError(f"the metadata are longer than {LONGEST_HEAD:,} characters")
        return None
    return found[1]


def body_of(text: str) -> str:
    """What follows the metadata of a card."""
    found = HEAD.match(text[: LONGEST_HEAD + 100])
    return text[found.end() :].lstrip() if found else text


def parse_head(text: str) -> dict[str, Any]:
    """The metadata of a card, as JSON has them; {} when there are none.

    Raises `CardError` when they are no YAML mapping, or too many or too deep.
    """
    head = head_of(text)
    if head is None:
        return {}
    try:
        _refuse_depth(head)
        read = yaml.load(head, Loader=_Loader)
    except yaml.YAMLError as error:
        raise CardError(f"Invalid YAML: {_line(error)}") from None
    except CardError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise CardError(f"Invalid YAML: {str(error)[:200]}") from None
    if read is None:
        return {}
    if not isinstance(read, dict):
        raise CardError("the metadata must be keys with values")
    cleaned = _Cleaner().value(read, 0)
    assert isinstance(cleaned, dict)
    return cleaned


def read_head(text: str) -> dict[str, Any]:
    """The metadata of a card; {} when there are none or they cannot be read."""
    try:
        return parse_head(text)
    except CardError:
        return {}


def _refuse_depth(head: str) -> None:
    """The parser's events come without recursion; its loader recurses in C, and a page of `[` would
    end the process."""
    depth = 0
    for event in yaml.parse(head, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise CardError(f"the metadata are nested deeper than {DEEPEST} levels")


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1})" if mark else ""
    return f"{getattr(error, 'problem', None) or 'it cannot be read'}{where}"


class _Cleaner:
    """Copies what YAML gave into what JSON and both databases take."""

    def __init__(self) -> None:
        self.left = MOST_VALUES
        self.letters = 2 * LONGEST_HEAD

    def value(self, value: Any, depth: int) -> Any:
        self.left -= 1
        self.letters -= len(value) if isinstance(value, str | bytes) else 0
        if self.left < 0 or self.letters < 0 or depth > DEEPEST:
            raise CardError("the metadata hold too many values")
        if isinstance(value, dict):
            return {_text(key): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set):
            return [self.value(item, depth + 1) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if abs(value) < 1 << 63 else str(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        return _text(value)


def _text(value: object) -> str:
    """Text without NUL and lone surrogates, which PostgreSQL refuses."""
    if isinstance(value, bool):
        return str(value).lower()
    plain = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return plain.replace("\0", "").encode("utf-8", "replace").decode()
