"""What a site says in files of its own of who may use its pages: robots.txt, ai.txt, tdmrep.json.

| file        | read as                                                                        |
|-------------|--------------------------------------------------------------------------------|
| robots.txt  | RFC 9309; what it says to `TRAINING_AGENTS` and to all ("*")                     |
| ai.txt      | Spawning's form: robots.txt's, with patterns of file types such as *.html      |
| tdmrep.json | TDM Reservation Protocol (W3C community group), "TDM File on the Origin Server" |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from llmos.data.optouts.addresses import normal_path
from llmos.data.optouts.agents import TRAINING_AGENTS

Rule = Callable[[str], bool]
"""Whether the page at a path (with its query, see `Address.path`) is not to be trained on."""

_PATTERN_LINE = re.compile(r"^(\s*(?:dis)?allow\s*:\s*)(?=[^\s/#])", re.IGNORECASE | re.MULTILINE)
_FILE_TYPE = re.compile(r"^(\s*(?:dis)?allow\s*:\s*/\*\.\w+)\s*$", re.IGNORECASE | re.MULTILINE)


def robots_rule(content: str) -> Rule:
    """The rule of a robots.txt. What is said to all crawlers ("*") is said to these too."""
    from protego import Protego

    parser = Protego.parse(content)
    lower = content.lower()
    agents = ["*", *(agent for agent in TRAINING_AGENTS if agent.lower() in lower)]

    def rule(path: str) -> bool:
        return not all(parser.can_fetch(f"https://host{path}", agent) for agent in agents)

    return rule


def ai_rule(content: str) -> Rule:
    """The rule of an ai.txt. A page whose path has no suffix is taken for .html."""
    rooted = _PATTERN_LINE.sub(r"\1/", content)
    robots = robots_rule(_FILE_TYPE.sub(r"\1$", rooted))

    def rule(path: str) -> bool:
        page = path.partition("?")[0]
        name = page.rpartition("/")[2]
        return robots(path) or ("." not in name and robots(f"{page or '/'}.html"))

    return rule


def tdm_rule(content: str) -> Rule:
    """The rule of a tdmrep.json: the first location that matches decides; none: not reserved.

    Raises `ValueError` for what is not in that format.
    """
    found: Any = json.loads(content)
    entries: list[tuple[str, bool]] = []
    for entry in found if isinstance(found, list) else [found]:
        location = entry.get("location") if isinstance(entry, dict) else None
        reserved = entry.get("tdm-reservation") if isinstance(entry, dict) else None
        if not isinstance(location, str) or str(reserved) not in ("0", "1"):
            raise ValueError('an entry needs a "location" and a "tdm-reservation" of 0 or 1')
        entries.append((location, str(reserved) == "1"))

    def rule(path: str) -> bool:
        return next((reserved for where, reserved in entries if _lies_in(path, where)), False)

    return rule


def _lies_in(path: str, pattern: str) -> bool:
    """Whether `path` begins as `pattern` says; "*" stands for anything, "$" for the end.

    Without regular expressions, whose time can grow with a power of the length.
    """
    ends = pattern.endswith("$")
    first, *rest = normal_path(pattern.removesuffix("$")).split("*")
    if not path.startswith(first):
        return False
    if not rest:
        return path == first or not ends
    at = len(first)
    for piece in rest[:-1]:
        at = path.find(piece, at) + len(piece)
        if at < len(piece):
            return False
    last = len(path) - len(rest[-1]) if ends else path.find(rest[-1], at)
    return last >= at and path.startswith(rest[-1], last)
