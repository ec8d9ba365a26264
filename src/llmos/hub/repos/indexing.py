"""What is shown of a repository without opening its files: card, tags, licence, facts, lineage.

Made anew from the head of `main` after each commit to it.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
import yaml
from sqlalchemy import Connection, delete, select, update

from llmos.hub.database.tables import blobs, commits, links, repo_tags, repos
from llmos.hub.git import trees
from llmos.hub.hub import Hub

HEAD = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---", re.DOTALL)
LARGEST = 4 << 20  # a card or config above this is not read
TAG_OF = {
    "datasets": "dataset",
    "base_model": "base_model",
    "task_categories": "task_categories",
    "size_categories": "size_categories",
    "license": "license",
}


def read_head(text: str) -> dict[str, Any]:
    """The YAML head of a card; {} when there is none or it cannot be read."""
    found = HEAD.match(text)
    if not found:
        return {}
    try:
        head = yaml.load(found[1], Loader=_Loader)
        orjson.dumps(head)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        return {}
    return head if isinstance(head, dict) else {}


class _Loader(yaml.SafeLoader):
    """Dates stay text, as JSON has none."""


_Loader.yaml_implicit_resolvers = {
    letter: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def small_file(
    hub: Hub, connection: Connection, root: str, path: str, limit: int = LARGEST
) -> bytes | None:
    """The content of a file that is no larger than `limit`; None when there is none."""
    entry = trees.find(connection, root, path)
    if entry is None or entry.directory or entry.size > limit:
        return None
    return b"".join(hub.blobs.read(entry.key))


def many(value: object) -> list[str]:
    """A card's value that may stand alone or in a list, as a list of texts."""
    values = value if isinstance(value, list) else [value] if value else []
    return [str(item)[:200] for item in values if isinstance(item, str | int | float)]


def index_repo(hub: Hub, connection: Connection, repo_id: int) -> None:
    """Read the head of main again, within the transaction of the commit."""
    repo = connection.execute(select(repos).where(repos.c.id == repo_id)).one()
    root = connection.execute(
        select(commits.c.tree).where(commits.c.repo_id == repo_id, commits.c.oid == repo.head)
    ).scalar_one()
    card = read_head(
        (small_file(hub, connection, root, "README.md") or b"").decode(errors="replace")
    )
    facts = {key: value for key, value in repo.facts.items() if key == "sdk"}
    if isinstance(card.get("sdk"), str):
        facts["sdk"] = card["sdk"]
    facts |= _config(small_file(hub, connection, root, "config.json"))
    facts |= {key: card[key] for key in ("pipeline_tag", "library_name") if card.get(key)}
    entry = trees.find(connection, root, "model.safetensors")
    if entry and not entry.directory:
        read = connection.execute(select(blobs.c.facts).where(blobs.c.sha256 == entry.key)).scalar()
        facts["safetensors"] = (read or {}).get("safetensors")
    facts = {key: value for key, value in facts.items() if value is not None}
    licence = next(iter(many(card.get("license"))), "")[:64]
    connection.execute(
        update(repos).where(repos.c.id == repo_id).values(card=card, facts=facts, license=licence)
    )
    connection.execute(delete(repo_tags).where(repo_tags.c.repo_id == repo_id))
    if tags := _tags(card, facts):
        rows = [{"repo_id": repo_id, "tag": tag} for tag in tags]
        connection.execute(repo_tags.insert(), rows)
    _index_links(connection, repo_id, card)


def _config(content: bytes | None) -> dict[str, Any]:
    try:
        config = orjson.loads(content) if content else {}
    except ValueError:
        return {}
    if not isinstance(config, dict):
        return {}
    kept = {key: config[key] for key in ("architectures", "model_type") if key in config}
    return {"config": kept, "library_name": "transformers"} if kept else {}


def _tags(card: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    tags = many(card.get("tags")) + many(card.get("language"))
    for key, start in TAG_OF.items():
        tags += [f"{start}:{value}" for value in many(card.get(key))]
    tags += many(facts.get("library_name")) + many(facts.get("pipeline_tag"))
    tags += many(facts.get("config", {}).get("model_type"))
    tags += ["safetensors"] if facts.get("safetensors") else []
    return sorted({tag[:200] for tag in tags})


def _index_links(connection: Connection, repo_id: int, card: dict[str, Any]) -> None:
    connection.execute(delete(links).where(links.c.repo_id == repo_id))
    rows = [
        {"repo_id": repo_id, "relation": relation, "target": target[:300]}
        for key, relation in (("datasets", "dataset"), ("base_model", "base_model"), ("run", "run"))
        for target in sorted(set(many(card.get(key))))
    ]
    if rows:
        connection.execute(links.insert(), rows)
