"""Read a member's text from files: .txt, .md, .jsonl (also .gz), one file or a folder of them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos.data.documents import Document
from llmos.errors import DataError

TEXT_SUFFIXES = (".txt", ".md")
RECORD_SUFFIXES = (".jsonl",)
CARD_NAME = "card.json"


@dataclass(frozen=True)
class Source:
    """The documents found, and what the `card.json` files among them say of their origin."""

    documents: list[Document]
    languages: tuple[str, ...] = ()
    licence: str = ""
    synthetic: bool = False
    skipped: list[str] = field(default_factory=list)


def read_source(path: Path, text_field: str = "text") -> Source:
    """Read all documents under `path`.

    A text file is one document; a JSON Lines file has one document a line in `text_field`.
    Files of other kinds are listed in `skipped`. Raises `DataError` naming the file and the place
    for a missing path, a folder without text, text that is not UTF-8, a damaged archive or record.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: give the folder or file with the member's text")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    files = [
        f for f in files if not any(part.startswith(".") for part in f.relative_to(path).parts)
    ]
    documents: list[Document] = []
    skipped: list[str] = []
    for file in files:
        name = file.name if file == path else file.relative_to(path).as_posix()
        suffixes = [s for s in file.suffixes[-2:] if s != ".gz"]
        suffix = suffixes[-1] if suffixes else ""
        if suffix in TEXT_SUFFIXES:
            documents.append(Document(name, _decode(_read_bytes(file), file)))
        elif suffix in RECORD_SUFFIXES:
            documents.extend(_records(file, name, text_field))
        elif file.name != CARD_NAME:
            skipped.append(name)
    documents = [d for d in documents if d.text.strip()]
    if not documents:
        known = ", ".join((*TEXT_SUFFIXES, *RECORD_SUFFIXES))
        seen = f" ({len(skipped)} files of other kinds were passed over)" if skipped else ""
        raise DataError(f"{path} holds no text{seen}: put {known} files (or their .gz) there")
    cards = [_read_card(file) for file in _cards(path, files)]
    languages = sorted({str(code) for card in cards for code in card.get("languages", ())})
    licences = sorted({str(card["licence"]) for card in cards if card.get("licence")})
    return Source(
        documents,
        tuple(languages),
        " AND ".join(licences),
        any(bool(card.get("synthetic")) for card in cards),
        skipped,
    )


def _cards(path: Path, files: list[Path]) -> list[Path]:
    beside = path.parent / CARD_NAME
    if path.is_file():
        return [beside] if beside.is_file() else []
    return [file for file in files if file.name == CARD_NAME]


def _read_bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if file.suffix == ".gz" else data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file} is a damaged gzip archive ({error}): replace it") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error


def _decode(data: bytes, file: Path) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start}): "
            f"convert it, for example iconv -f ISO-8859-1 -t UTF-8"
        ) from error
    if "\0" in text:
        raise DataError(
            f"{file} holds NUL bytes, so it is UTF-16 or not text at all: convert it to UTF-8"
        )
    return text


def _records(file: Path, name: str, text_field: str) -> Iterator[Document]:
    for number, line in enumerate(_decode(_read_bytes(file), file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{file} line {number} is not a JSON record: {error}") from error
        text = record.get(text_field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise DataError(
                f"{file} line {number} has no text in the field {text_field!r}: "
                "set data.text_field in the recipe"
            )
        yield Document(f"{name}:{number}", _without_surrogates(text, file, number))


def _without_surrogates(text: str, file: Path, number: int) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{file} line {number} holds half of a surrogate pair (broken Unicode): repair it"
        ) from error
    return text


def _read_card(card: Path) -> dict[str, Any]:
    try:
        value = json.loads(card.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{card} is not a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{card} is not a JSON object: write {{...}} with languages and licence")
    return value
