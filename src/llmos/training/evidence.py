"""Whether the folder of a run alone is what its signed ledger says. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from llmos.errors import LLMOSError
from llmos.provenance.ledger import Entry
from llmos.recipe import recipe_from_dict
from llmos.records import canonical_json
from llmos.storage import sha256_file, sha256_hex

FIRST = "alone_opened"
ORDER = (FIRST, "prepared", "trained", "published")
CANNOT_PROVE = (
    "that the training was done as the ledger says, or on the text that the data card describes",
    "that nobody with the key wrote the whole ledger anew: no other organisation keeps its heads",
)

Problems = Iterator[str]


def check_alone(folder: Path, entries: Sequence[Entry]) -> list[tuple[str, str, tuple[str, ...]]]:
    """The checks as (name, what holds, problems)."""
    kinds = tuple(entry.kind for entry in entries)
    state = "finished" if kinds == ORDER else f"at {kinds[-1]}"
    return [
        ("order", f"the run is {state}", tuple(_order(kinds))),
        ("recipe", "the recipe and its file", tuple(_recipe(folder, entries[0]))),
        ("data card", "its sha256", tuple(_card(entries[0]))),
        ("tokenizer", "tokenizer.json", tuple(_tokenizer(folder, entries))),
        ("model", "files that were published", tuple(_files(folder, entries))),
    ]


def _order(kinds: tuple[str, ...]) -> Problems:
    if kinds != ORDER[: len(kinds)]:
        yield f"the entries are {', '.join(kinds)}, not {', '.join(ORDER)}"


def _recipe(folder: Path, opened: Entry) -> Problems:
    path = folder / "recipe.toml"
    try:
        found = recipe_from_dict(opened.body["recipe"]).sha256()
        if found != opened.body["recipe_sha256"]:
            yield f"the recipe in entry 0 has sha256 {found[:16]}, not the one it states"
        if sha256_file(path) != opened.body["recipe_file_sha256"]:
            yield f"{path} has changed since the run was opened"
    except (LLMOSError, OSError, KeyError, TypeError) as error:
        yield f"the recipe cannot be checked: {error}"


def _card(opened: Entry) -> Problems:
    try:
        if sha256_hex(canonical_json(opened.body["card"])) != opened.body["card_sha256"]:
            yield "the data card in entry 0 does not have the sha256 it states"
    except KeyError as error:
        yield f"entry 0 lacks {error}"


def _tokenizer(folder: Path, entries: Sequence[Entry]) -> Problems:
    for entry in entries:
        if entry.kind == "prepared":
            path = folder / "tokenizer.json"
            try:
                if sha256_file(path) != entry.body["tokenizer_sha256"]:
                    yield f"{path} has changed"
            except (OSError, KeyError) as error:
                yield f"{path} cannot be checked: {error}"


def _files(folder: Path, entries: Sequence[Entry]) -> Problems:
    for entry in entries:
        if entry.kind != "published":
            continue
        listed = dict(entry.body.get("files", {}))
        for name, digest in sorted(listed.items()):
            path = folder / name
            try:
                if sha256_file(path) != digest:
                    yield f"{path} has changed since it was published"
            except OSError as error:
                yield f"{path} cannot be read: {error.strerror or error}"
        for place in ("model", "adapter"):
            for path in sorted((folder / place).rglob("*")):
                if path.is_file() and path.relative_to(folder).as_posix() not in listed:
                    yield f"{path} was added after publication"
