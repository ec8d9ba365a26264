"""A small prepared folder, made as `llmos data prepare` leaves it, for all tests of data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmos.data.card import KIND, VERSION, kept_values, write_card
from llmos.data.documents import Document
from llmos.data.preparation.aside import plain_gzip
from llmos.data.preparation.lines import to_line
from llmos.data.tally import Tally
from llmos.recipe import DataSection
from llmos.records import JSON
from llmos.storage import atomic_writer


def prepare_folder(
    folder: Path, files: Sequence[Sequence[Document]], data: DataSection | None = None, **more: Any
) -> JSON:
    """Write each of `files` as one file of documents, and the card; the card."""
    tally = Tally()
    entries = []
    for number, documents in enumerate(files):
        name = f"documents/{number:05d}.jsonl.gz"
        lines = [to_line(document, data or DataSection()) for document in documents]
        with atomic_writer(folder / name) as file, plain_gzip(file) as out:
            out.write(b"".join(lines))
        for document in documents:
            tally.take(document)
        content = b"".join(lines)
        digest = hashlib.sha256(content).hexdigest()
        entries.append(
            {"name": name, "documents": len(lines), "bytes": len(content), "sha256": digest}
        )
    count = sum(tally.licences.values())
    card: JSON = {
        "kind": KIND,
        "version": VERSION,
        "name": "small",
        "synthetic": False,
        "read": {"documents": count + 3, "bytes": 1000},
        "sources": {},
        "problems": {},
        "dropped": {"duplicate_exact": 3},
        "changed": {},
        "duplicates": {"near_duplicates": True, "line_documents": 0, "rate": 0.0},
        "contamination": [],
        "protected": None,
        "made": {"llmos": "0", "recipe_sha256": "", "settings_sha256": "0", "rules": {}},
        **kept_values(tally, entries),
        **more,
    }
    write_card(folder, card)
    return card


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(name="prepare_folder")
def _prepare_folder() -> Callable[..., JSON]:
    """`prepare_folder(folder, files)`."""
    return prepare_folder


@pytest.fixture(name="contents")
def _contents() -> Callable[[Path], dict[str, bytes]]:
    """`contents(folder)`."""
    return contents
