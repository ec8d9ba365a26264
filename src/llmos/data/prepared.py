"""Read a prepared folder, as `llmos data prepare` leaves it, document by document.

for record in records(folder / "documents" / "00000.jsonl.gz"):
    print(record.values["id"], record.strings())
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.data.documents import Document
from llmos.data.preparation.places import DOCUMENTS
from llmos.errors import DataError
from llmos.recipe import DataSection
from llmos.records import JSON

ORIGIN = ("id", "language", "source_name", "licence")
"""What a line tells besides its text and its address."""
FIELD_NAMES = ("text_field", "source_field", "target_field", "label_field")


@dataclass(frozen=True)
class Record:
    """A line of a prepared file and its values."""

    line: bytes
    values: JSON

    def strings(self) -> Iterator[str]:
        """All text of the record: all strings in it but those that tell its origin."""
        return strings_in([value for key, value in self.values.items() if key not in ORIGIN])

    def document(self, data: DataSection) -> Document:
        """The document, its text put together as `llmos.data.records` says.

        `data` names the fields, as when it was prepared. Raises `KeyError` where one is missing.
        """
        values = self.values
        if "messages" in values:
            text = "\n".join(message["content"] for message in values["messages"])
        elif "answers" in values:
            text = f"{values['context']}\n{values['question']}"
        elif data.text_field in values:
            text = values[data.text_field]
        else:
            text = f"{values[data.source_field]}\n{values[data.target_field]}"
        language, source, licence, url = (
            str(values.get(key, "")) for key in ("language", "source_name", "licence", "url")
        )
        return Document(
            values["id"], text, language=language, source=source, licence=licence, url=url
        )


def strings_in(value: Any) -> Iterator[str]:
    """All strings within a value of JSON, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings_in(part)


def field_names(card: JSON) -> DataSection:
    """How the fields of records are named in a prepared folder, by its card; the default names
    where the card does not say."""
    named = card.get("made", {}).get("fields", {})
    return DataSection(**{name: named[name] for name in FIELD_NAMES if name in named})


def document_files(folder: Path) -> list[Path]:
    """The files of documents. Raises `DataError` where there are none."""
    files = sorted((folder / DOCUMENTS).glob("*.jsonl.gz"))
    if not files:
        raise DataError(
            f"{folder} holds no prepared documents: name a folder that llmos data prepare made"
        )
    return files


def records(file: Path, digest: Any = None) -> Iterator[Record]:
    """The records of a prepared file; its lines go into `digest`, a hash, where one is given.

    Raises `DataError` for a damaged file.
    """
    import orjson

    digest = digest or hashlib.sha256()
    number = 0
    try:
        with gzip.open(file, "rb") as lines:
            for line in lines:
                number += 1
                digest.update(line)
                values = orjson.loads(line)
                if not isinstance(values, dict):
                    raise ValueError("no record")
                yield Record(line, values)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(
            f"{file} is damaged at line {number} ({error}): prepare the text again"
        ) from error
