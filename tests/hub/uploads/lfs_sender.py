"""What a client of Git LFS asks of the hub, by hand."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

CONTENT = random.Random(7).randbytes(100_000)
OID = hashlib.sha256(CONTENT).hexdigest()


def batch(world, user: str | None, repo: str = "acme/m", operation="upload", **more: Any) -> Any:
    objects = more.pop("objects", [{"oid": OID, "size": len(CONTENT)}])
    body = {"operation": operation, "objects": objects, **more}
    return world.ask("POST", f"/{repo}.git/info/lfs/objects/batch", user, json=body)


def actions_of(world, user: str = "alice", repo: str = "acme/m", **more: Any) -> dict[str, Any]:
    answer = batch(world, user, repo, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.git-lfs+json"
    return answer.json()["objects"][0].get("actions", {})


def set_settings(world, **values: Any) -> None:
    object.__setattr__(world.hub, "settings", replace(world.hub.settings, **values))


def make_repo(
    world, name: str = "m", user: str = "alice", org: str | None = "acme", **more
) -> None:
    body = {"name": name, "organization": org, **more}
    assert world.ask("POST", "/api/repos/create", user, json=body).status_code == 200
