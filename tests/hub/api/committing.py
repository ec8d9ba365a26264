"""Commits by hand, line by line, to alice/small."""

from __future__ import annotations

import json
from typing import Any


def send(
    world: Any,
    user: str | None,
    *lines: dict[str, Any],
    repo: str = "alice/small",
    query: str = "",
) -> Any:
    """A commit by hand: `lines` come after a header, unless they begin with one."""
    head = {"key": "header", "value": {"summary": "by hand"}}
    body = lines if lines and lines[0].get("key") == "header" else (head, *lines)
    text = b"".join(json.dumps(line).encode() + b"\n" for line in body)
    return world.ask("POST", f"/api/models/{repo}/commit/main{query}", user, content=text)


def file(path: Any, content: Any = "x", **more: Any) -> dict[str, Any]:
    """The line of a file."""
    return {"key": "file", "value": {"path": path, "content": content, **more}}


def paths(world: Any, repo: str = "alice/small") -> set[str]:
    """The files of main."""
    found = world.ask("GET", f"/api/models/{repo}/tree/main?recursive=true", "alice").json()
    return {entry["path"] for entry in found if entry["type"] == "file"}
