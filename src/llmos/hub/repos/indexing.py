"""What is shown of a repository without opening its files: card, tags, licence, facts, lineage.

Made anew from the head of `main` after each commit to it that touches one of the files it is read
from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.hub.database.tables import commits, links, repo_tags, repos
from llmos.hub.git import trees
from llmos.hub.hub import Hub
from llmos.hub.repos.cards import body_of, read_head
from llmos.hub.repos.facts import READ, model_facts
from llmos.hub.runs.harvest import RESULTS
from llmos.hub.runs.noticing import notice

CARD = "README.md"
LARGEST = 4 << 20  # bytes; a larger card or configuration is not read
MOST_TAGS = 1000
ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})|^arxiv:(\d{4}\.\d{4,5})$", re.I | re.M)
NAME = re.compile(r"[\w.\-]+(?:/[\w.\-]+)?", re.ASCII)
BASE_RELATIONS = ("finetune", "adapter", "merge", "quantized")
DATASET_KEYS = (
    *("task_categories", "task_ids", "language", "multilinguality", "license"),
    *("language_creators", "annotations_creators", "source_datasets", "size_categories"),
)
TAGS_OF = {  # keys of a card whose values become tags with that start
    "model": {"datasets": "dataset:", "language": "", "license": "license:"},
    "dataset": {key: f"{key}:" for key in DATASET_KEYS},
    "space": {"datasets": "dataset:", "models": "model:", "license": "license:"},
    "run": {"datasets": "dataset:", "language": "", "license": "license:"},
}


@dataclass(slots=True)
class Reader:
    """Reads the files that the index is made of. What `prepare` has read before a transaction is
    not read again within it."""

    hub: Hub
    _contents: dict[str, bytes] = field(default_factory=dict)
    _cards: dict[str, dict[str, Any]] = field(default_factory=dict)

    def prepare(self, entries: Mapping[str, trees.Entry]) -> None:
        """Read those of the files (path to entry) that the index will ask for."""
        for name in (CARD, *READ):
            if (entry := entries.get(name)) is not None:
                self.content(entry)
                if name == CARD:
                    self.head(entry)

    def content(self, entry: trees.Entry | None) -> bytes:
        """The content of a file; b"" when there is none, or it is too large."""
        if entry is None or entry.directory or entry.size > LARGEST:
            return b""
        if entry.key not in self._contents:
            self._contents[entry.key] = b"".join(self.hub.blobs.read(entry.key))
        return self._contents[entry.key]

    def text(self, entry: trees.Entry | None) -> str:
        """A file's content as text."""
        return self.content(entry).decode(errors="replace").replace("\0", "")

    def head(self, entry: trees.Entry | None) -> dict[str, Any]:
        """The metadata of a card; {} when there are none that can be read."""
        if entry is None:
            return {}
        if entry.key not in self._cards:
            self._cards[entry.key] = read_head(self.text(entry))
        return self._cards[entry.key]


def many(value: object) -> list[str]:
    """A card's value that may stand alone or in a list, as a list of texts."""
    values = value if isinstance(value, list) else [value]
    texts = (
        str(item).strip()[:200]
        for item in values
        if isinstance(item, str | int | float) and not isinstance(item, bool)
    )
    return [text for text in texts if text]


def concerns_index(path: str) -> bool:
    """Whether a change of this file may change the index: those of the first level, and results."""
    return "/" not in path or path.startswith(f"{RESULTS}/")


def index_repo(
    hub: Hub, connection: Connection, repo_id: int, reader: Reader | None = None
) -> None:
    """Read the head of main again, within the transaction of the commit. Nothing happens when the
    files it is read from are the same as the last time."""
    repo = connection.execute(select(repos).where(repos.c.id == repo_id)).one()
    root_key = connection.execute(
        select(commits.c.tree).where(commits.c.repo_id == repo_id, commits.c.oid == repo.head)
    ).scalar_one()
    root = trees.load(connection, root_key)
    notice(hub, connection, repo, root)
    seen = _fingerprint(root)
    if repo.facts.get("read") == seen:
        return
    reader = reader or Reader(hub)
    card = reader.head(root.get(CARD))
    text = reader.text(root.get(CARD))
    facts = _facts(connection, repo, root, card, reader) | {"read": seen}
    if description := _description(text):
        facts["description"] = description
    papers = _papers(card, text)
    bases = many(card.get("base_model")) or many(facts.pop("adapter_of", None))
    bases = [base for base in bases if NAME.fullmatch(base)][:50]
    tags = _tags(repo.kind, card, facts, papers, bases)
    connection.execute(
        update(repos)
        .where(repos.c.id == repo_id)
        .values(
            card=card,
            facts=facts,
            tags=tags,
            license=next(iter(many(card.get("license"))), "")[:64],
            parameters=facts.get("safetensors", {}).get("total"),
        )
    )
    connection.execute(delete(repo_tags).where(repo_tags.c.repo_id == repo_id))
    if keys := sorted({tag.lower()[:200] for tag in tags}):
        connection.execute(repo_tags.insert(), [{"repo_id": repo_id, "tag": key} for key in keys])
    _index_links(connection, repo_id, card, papers, bases)


def _fingerprint(root: trees.Tree) -> str:
    """Tells whether the files that the index is read from are others than before."""
    names = [name for name in root if name in (CARD, *READ) or name.endswith(".safetensors")]
    text = "\n".join(f"{name} {root[name].key}" for name in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _facts(
    connection: Connection, repo: Row[Any], root: trees.Tree, card: dict[str, Any], reader: Reader
) -> dict[str, Any]:
    facts = {key: value for key, value in repo.facts.items() if key == "sdk"}
    if repo.kind == "space":
        facts |= {"sdk": card["sdk"][:40]} if isinstance(card.get("sdk"), str) else {}
    if repo.kind == "model":
        contents = {name: reader.content(root.get(name)) for name in READ if name in root}
        facts |= model_facts(connection, root, contents)
        for key in ("pipeline_tag", "library_name"):
            if isinstance(card.get(key), str) and card[key]:
                facts[key] = card[key][:100]
    return facts


def _tags(
    kind: str, card: dict[str, Any], facts: dict[str, Any], papers: list[str], bases: list[str]
) -> list[str]:
    tags = many(card.get("tags")) + many(facts.get("library_name"))
    tags += ["safetensors"] if "safetensors" in facts else []
    tags += ["model-index"] if isinstance(card.get("model-index"), list) else []
    tags += many(facts.get("config", {}).get("model_type")) + many(facts.get("pipeline_tag"))
    tags += many(facts.get("sdk"))
    for key, start in TAGS_OF[kind].items():
        tags += [f"{start}{value}" for value in many(card.get(key))]
    tags += [f"arxiv:{paper}" for paper in papers]
    relation = _base_relation(card, facts)
    for base in bases:
        tags += [f"base_model:{base}", f"base_model:{relation}:{base}"]
    return list(dict.fromkeys(tag[:200] for tag in tags))[:MOST_TAGS]


def _base_relation(card: dict[str, Any], facts: dict[str, Any]) -> str:
    """How a model was made from its base; the rules are those of the Hugging Face hub."""
    stated = card.get("base_model_relation")
    if stated in BASE_RELATIONS:
        return str(stated)
    tags = {tag.lower() for tag in many(card.get("tags"))}
    if facts.get("library_name") == "peft" or tags & {"lora", "adapter", "peft"}:
        return "adapter"
    if tags & {"merge", "mergekit"}:
        return "merge"
    return "quantized" if tags & {"gguf", "gptq", "awq", "quantized"} else "finetune"


def _papers(card: dict[str, Any], text: str) -> list[str]:
    stated = "\n".join(many(card.get("arxiv")) + many(card.get("tags")))
    found = [one or two for one, two in ARXIV.findall(f"{stated}\n{text}")]
    return list(dict.fromkeys(found))[:50]


def _description(text: str) -> str:
    """The first paragraph of a card that is plain text; at most 300 letters."""
    for part in re.split(r"\n\s*\n", body_of(text)[:20_000].replace("\r", "")):
        words = " ".join(part.split())
        if words and words[0] not in "#<>!|`-*=[{$:":
            return words if len(words) <= 300 else words[:299].rstrip() + "…"
    return ""


def _index_links(
    connection: Connection, repo_id: int, card: dict[str, Any], papers: list[str], bases: list[str]
) -> None:
    connection.execute(delete(links).where(links.c.repo_id == repo_id))
    targets = {
        "dataset": many(card.get("datasets")),
        "base_model": bases,
        "run": many(card.get("run")),
        "paper": papers,
        "code": many(card.get("code")),
    }
    rows = [
        {"repo_id": repo_id, "relation": relation, "target": target}
        for relation, names in targets.items()
        for target in sorted(set(names[:MOST_TAGS]))
        if relation in ("code", "paper") or NAME.fullmatch(target)
    ]
    if rows:
        connection.execute(links.insert(), rows)
