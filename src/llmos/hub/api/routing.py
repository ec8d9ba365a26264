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
from urllib.parse import quote, unquote

from pydantic import BaseModel

from llmos.hub.accounts.rights import Right

if TYPE_CHECKING:
    from llmos.hub.api.asking import Ask

SAFE = ("GET", "HEAD")
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space", "runs": "run"}
PREFIXES = {"": "model", "datasets": "dataset", "spaces": "space", "runs": "run"}


class Need:
    """Rights that are not about one repository."""

    PUBLIC = "public"  # anybody
    SIGNED_IN = "signed in"  # any token or session
    WRITING = "writing"  # a token of scope write, or a session: what the account may do
    SESSION = "session"  # a browser's session: what a token that got lost must not do
    ORG_MEMBER = "member of {org}"  # of the organisation that the template's {org} names
    ORG_ADMIN = "admin of {org}"  # and WRITING
    ADMIN = "admin"  # an admin of the whole hub, and WRITING
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
    gives: Any = None  # the type of the JSON answer, for openapi.json
    status: int = 200  # of that answer


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    one: dict[str, _Node] = field(default_factory=dict)  # by the parameter's name
    rest: dict[str, _Node] = field(default_factory=dict)
    routes: dict[str, _Leaf] = field(default_factory=dict)  # by method


@dataclass(frozen=True, slots=True)
class _Leaf:
    route: Route
    kind: str
    repo_at: int  # the segment at which {repo} begins; -1: it has none
    ending: str  # what follows {repo} in its segment, such as .git


@dataclass(frozen=True, slots=True)
class Match:
    """A route with what its template caught; `kind` is "" where no repository is meant."""

    route: Route
    kind: str
    values: Mapping[str, str]
    segments: list[str]  # of the raw path
    repo_at: int = -1
    ending: str = ""

    def renamed(self, full_name: str) -> str:
        """The raw path with another repository in it. It begins with one slash only: what follows
        two would be another host."""
        taken = 2 if "owner" in self.values else 1
        rest = self.segments[self.repo_at + taken :]
        return "/" + "/".join(
            [*self.segments[: self.repo_at], quote(full_name) + self.ending, *rest]
        )


class Router:
    """Finds the route of a method and a raw path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            for segments, kind in _expanded(route.template):
                self._add(segments, route, kind)

    def _add(self, segments: list[str], route: Route, kind: str) -> None:
        node, repo_at, ending = self._root, -1, ""
        for at, segment in enumerate(segments):
            if kind and repo_at < 0 and segment.startswith(("{owner}", "{name}")):
                repo_at = at
            if kind and segment.startswith("{name}"):
                ending = segment.removeprefix("{name}")
            if not segment.startswith("{"):
                node = node.literal.setdefault(segment, _Node())
            elif segment.endswith("*}"):
                node = node.rest.setdefault(segment[1:-2], _Node())
            else:
                node = node.one.setdefault(segment[1:].replace("}", ""), _Node())
        if route.method in node.routes:
            other = node.routes[route.method].route.template
            raise ValueError(f"{route.method} {route.template} is also {other}")
        node.routes[route.method] = _Leaf(route, kind, repo_at, ending)

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
            leaf = node.routes.get(method) or (node.routes.get("GET") if method == "HEAD" else None)
            if leaf:
                return Match(leaf.route, leaf.kind, values, segments, leaf.repo_at, leaf.ending)
            found.update(node.routes)
            if "GET" in node.routes:
                found.add("HEAD")
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
            # the short name first: /gpt2/refs is not the repository refs of an owner gpt2
            both = (["{name}" + ending], ["{owner}", "{name}" + ending])
            lists = [
                # /api/runs/{repo} names its kind itself
                ([*segments, *way], kind or KINDS.get(segments[-1] if segments else "", ""))
                for segments, kind in lists
                for way in both
            ]
        else:
            lists = [([*segments, part], kind) for segments, kind in lists]
    return lists
