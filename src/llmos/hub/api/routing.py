"""Routes: what is asked, the right it needs, the function that answers.

A template is a path with parts in braces:

    {kind}   models, datasets, spaces or runs in the API's paths
    {prefix} the same in the addresses of pages and files, where models have none
    {repo}   owner/name, or a short name such as gpt2
    {rev}    a revision; its slashes come as %2F (refs/pr/3 also as it stands)
    {x}      any one segment        {x*}  all that is left

Segments are split before they are decoded. A literal part wins over a part in braces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic import BaseModel

from llmos.hub.accounts.rights import Right

if TYPE_CHECKING:
    from llmos.hub.api.asking import Ask

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space", "runs": "run"}
PREFIXES = {"": "model", "datasets": "dataset", "spaces": "space", "runs": "run"}


class Need:
    """Rights that are not about one repository."""

    PUBLIC = "public"  # anybody
    SIGNED_IN = "signed in"  # any token or session
    WRITING = "writing"  # a token that may write, or a session
    ADMIN = "admin"  # an admin of the whole hub
    SIGNED = "signed address"  # the address itself carries a signature, which the function checks
    INSIDE = "inside"  # the function decides, and says so in its docstring


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked. `answer` takes an `Ask` and returns a response: in a thread of
    its own, or, when it is a coroutine function, on the event loop with the body still unread."""

    method: str
    template: str
    needs: Right | str
    answer: Callable[[Ask], Any]
    takes: type[BaseModel] | None = None  # the JSON body
    page: bool = False  # errors are answered as HTML; forms need the CSRF token
    documented: bool = False  # part of our own API: in openapi.json


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    one: dict[str, _Node] = field(default_factory=dict)  # by the parameter's name
    rest: dict[str, _Node] = field(default_factory=dict)
    routes: dict[str, tuple[Route, str]] = field(default_factory=dict)  # method -> route, kind


@dataclass(frozen=True, slots=True)
class Match:
    """A route with what its template caught; `kind` is "" where no repository is meant."""

    route: Route
    kind: str
    values: Mapping[str, str]


class Router:
    """Finds the route of a method and a raw path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            for segments, kind in _expanded(route.template):
                self._add(segments, route, kind)

    def _add(self, segments: list[str], route: Route, kind: str) -> None:
        node = self._root
        for segment in segments:
            if not segment.startswith("{"):
                node = node.literal.setdefault(segment, _Node())
            elif segment.endswith("*}"):
                node = node.rest.setdefault(segment[1:-2], _Node())
            else:
                node = node.one.setdefault(segment[1:].replace("}", ""), _Node())
        if route.method in node.routes:
            other = node.routes[route.method][0].template
            raise ValueError(f"{route.method} {route.template} is also {other}")
        node.routes[route.method] = (route, kind)

    def find(self, method: str, raw_path: str) -> Match | set[str]:
        """The match, or the methods that the path does take (none: no such path)."""
        segments = [segment for segment in raw_path.split("/") if segment]
        found: set[str] = set()
        match = self._match(self._root, segments, 0, {}, method, found)
        return match or found

    def _match(
        self,
        node: _Node,
        segments: list[str],
        at: int,
        values: dict[str, str],
        method: str,
        found: set[str],
    ) -> Match | None:
        if at == len(segments):
            route = node.routes.get(method) or (
                node.routes.get("GET") if method == "HEAD" else None
            )
            if route:
                return Match(route[0], route[1], values)
            found.update(node.routes)
        else:
            segment = segments[at]
            child = node.literal.get(segment)
            if child and (match := self._match(child, segments, at + 1, values, method, found)):
                return match
            for name, child in node.one.items():
                name, _, ending = name.partition(".")
                if ending and not segment.endswith(f".{ending}"):
                    continue
                taken = 3 if name == "rev" and segment == "refs" and len(segments) > at + 2 else 1
                value = unquote("/".join(segments[at : at + taken]))
                caught = {**values, name: value.removesuffix(f".{ending}" if ending else "")}
                if match := self._match(child, segments, at + taken, caught, method, found):
                    return match
        for name, child in node.rest.items():
            caught = {**values, name: unquote("/".join(segments[at:]))}
            if match := self._match(child, segments, len(segments), caught, method, found):
                return match
        return None


def _expanded(template: str) -> list[tuple[list[str], str]]:
    """A template as the segment lists it stands for, each with the kind of repository meant."""
    parts = [part for part in template.split("/") if part]
    lists: list[tuple[list[str], str]] = [([], "")]
    for part in parts:
        if part in ("{kind}", "{prefix}"):
            kinds = KINDS if part == "{kind}" else PREFIXES
            lists = [
                ([*segments, *([word] if word else [])], kind)
                for segments, _ in lists
                for word, kind in kinds.items()
            ]
        elif "{repo}" in part:  # {repo}.git is a repository too
            ending = part.removeprefix("{repo}")
            both = (["{owner}", "{name}" + ending], ["{name}" + ending])
            lists = [([*segments, *way], kind) for segments, kind in lists for way in both]
        else:
            lists = [([*segments, part], kind) for segments, kind in lists]
    return lists
