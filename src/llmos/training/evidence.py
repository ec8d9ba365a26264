"""Whether the folder of a run alone is what its signed ledger says. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from llmos.provenance.ledger import Entry
from llmos.provenance.run_checks import ALONE_ORDER, Check, alone_card, alone_order, alone_recipe
from llmos.storage import sha256_file

Problems = Iterator[str]


def check_alone(folder: Path, entries: Sequence[Entry]) -> list[Check]:
    """What was checked of the run in `folder`."""
    kinds = tuple(entry.kind for entry in entries)
    state = "finished" if kinds == ALONE_ORDER else f"at {kinds[-1]}"
    recipe = (*alone_recipe(entries[0]), *_recipe_file(folder, entries[0]))
    return [
        Check("order", f"the run is {state}", tuple(alone_order(kinds))),
        Check("recipe", "the recipe and its file", recipe),
        Check("data card", "its sha256", tuple(alone_card(entries[0]))),
        Check("tokenizer", "tokenizer.json", tuple(_tokenizer(folder, entries))),
        Check("model", "files that were published", tuple(_files(folder, entries))),
    ]


def _recipe_file(folder: Path, opened: Entry) -> Problems:
    path = folder / "recipe.toml"
    try:
        if sha256_file(path) != opened.body["recipe_file_sha256"]:
            yield f"{path} has changed since the run was opened"
    except (OSError, KeyError, TypeError) as error:
        yield f"the recipe cannot be checked: {error}"


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
