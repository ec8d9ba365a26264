"""Read a member's texts and records from files (also .gz): one of them, or a folder."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import stat
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos.data.card import card_sha256, data_card
from llmos.data.documents import Document
from llmos.data.preparation.places import DOCUMENTS, WORK
from llmos.data.records import RECORDS, PassedOverError
from llmos.data.rows import ROWS, squad
from llmos.errors import DataError
from llmos.provenance.licences import all_licences
from llmos.recipe import DataSection
from llmos.records import JSON

TEXT_SUFFIXES = (".txt", ".md")
CARD_NAME = "card.json"


@dataclass(frozen=True)
class Source:
    """The documents found, and what the `card.json` files among them say of their origin."""

    documents: list[Document]
    languages: tuple[str, ...] = ()
    licence: str = ""
    synthetic: bool = False
    skipped: list[str] = field(default_factory=list)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How many records could not be used, by the reason why."""
    data_card_sha256: str = ""
    """Of the data card of a prepared folder."""


def read_source(path: Path, data: DataSection, record: str) -> Source:
    """Read all documents under `path`, made of records of one kind (see `RECORDS`).

    A record is a line of a JSON Lines, CSV or TSV file; a text file is one document where the kind
    is "text", a SQuAD file (.json) holds records of the kind "question". `data` names the fields.
    Of a folder that `llmos data prepare` made, its documents are read. Names that begin with a dot
    are ignored. Files of other kinds and links to folders, which are not followed, are listed in
    `skipped`; records with an empty part are counted in `passed_over`.
    Raises `DataError` naming the file and the place for a missing path, a folder without text,
    text that is not UTF-8, a damaged archive, table or record.
    """
    prepared = prepared_card(path)
    files, skipped = _files(path / DOCUMENTS if prepared else path)
    whole = TEXT_SUFFIXES if record == "text" else ()
    readers = {**ROWS, ".json": squad} if record == "question" else ROWS
    documents: list[Document] = []
    passed_over: Counter[str] = Counter()
    for file in files:
        name = file.name if file == path else file.relative_to(path).as_posix()
        suffixes = [s for s in map(str.lower, file.suffixes[-2:]) if s != ".gz"]
        suffix = suffixes[-1] if suffixes else ""
        if file.name == CARD_NAME:
            continue
        if suffix in whole:
            documents.append(Document(name, _decode(_read_bytes(file), file)))
        elif suffix in readers:
            for row in readers[suffix](_decode(_read_bytes(file), file), file, name):
                try:
                    documents.append(RECORDS[record](row, data))
                except PassedOverError as reason:
                    passed_over[str(reason)] += 1
        else:
            skipped.append(name)
    documents = [d for d in documents if d.text.strip()]
    if not documents:
        raise _nothing(path, record, (*whole, *readers), len(skipped), passed_over)
    found = [path / CARD_NAME] if prepared else _cards(path, files)
    cards = [read_card(file) for file in found]
    return Source(
        documents,
        tuple(sorted({code for card in cards for code in card["languages"]})),
        all_licences(card["licence"] for card in cards),
        any(card["synthetic"] for card in cards),
        sorted(skipped),
        dict(sorted(passed_over.items())),
        card_sha256(prepared) if prepared else "",
    )


def prepared_card(path: Path) -> JSON | None:
    """The card of a folder that `llmos data prepare` made; None for any other source.

    Raises `DataError` where the preparation is not finished.
    """
    if (path / WORK).is_dir() and not (path / CARD_NAME).exists():
        raise DataError(
            f"{path} is not fully prepared: give its `llmos data prepare` command again, it goes "
            "on where it stood"
        )
    return data_card(path) if (path / DOCUMENTS).is_dir() else None


def _nothing(
    path: Path, record: str, suffixes: tuple[str, ...], skipped: int, passed_over: Counter[str]
) -> DataError:
    seen = [f"{skipped} files of other kinds were passed over"] if skipped else []
    seen += [f"{count} records: {reason}" for reason, count in sorted(passed_over.items())]
    what = "text" if record == "text" else f"records of the kind {record}"
    reasons = f" ({'; '.join(seen)})" if seen else ""
    return DataError(
        f"{path} holds no {what}{reasons}: put {', '.join(suffixes)} files (or their .gz) there"
    )


def _files(path: Path) -> tuple[list[Path], list[str]]:
    """The files under `path` in the order of their paths, and the links that lead to none."""
    files: list[Path] = []
    passed_over: list[str] = []
    try:
        mode = path.stat().st_mode
        if not stat.S_ISDIR(mode):
            return [path] if stat.S_ISREG(mode) else [], []
        for folder, folders, names in os.walk(path, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in [*folders, *names]:
                file = Path(folder, name)
                if name.startswith("."):
                    continue
                if file.is_file():
                    files.append(file)
                elif file.is_symlink():
                    passed_over.append(file.relative_to(path).as_posix())
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: give the folder or file with the member's text"
        ) from error
    except OSError as error:
        raise _unreadable(Path(error.filename or path), error) from error
    return sorted(files), passed_over


def _raise(error: OSError) -> None:
    raise error


def _unreadable(file: Path, error: OSError) -> DataError:
    return DataError(
        f"{file} cannot be read ({error.strerror or error}): "
        "make it readable for this user, or move it out of the member's text"
    )


def _cards(path: Path, files: list[Path]) -> list[Path]:
    beside = path.parent / CARD_NAME
    if path.is_file():
        return [beside] if beside.is_file() else []
    return [file for file in files if file.name == CARD_NAME]


def _read_bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if file.suffix.lower() == ".gz" else data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file} is a damaged gzip archive ({error}): replace it") from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _decode(data: bytes, file: Path) -> str:
    if 0 in data:
        raise DataError(
            f"{file} holds NUL bytes (the first at offset {data.index(0)}), so it is UTF-16 or not "
            "text at all: convert it to UTF-8, for example by iconv -f UTF-16 -t UTF-8 OLD > NEW"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The error counts from behind a byte order mark.
        offset = error.start + len(data) - len(error.object)
        likely = "UTF-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "LATIN1"
        raise DataError(
            f"{file} is not UTF-8 (byte 0x{data[offset]:02x} at offset {offset}): convert it, for "
            f"example by iconv -f {likely} -t UTF-8 OLD > NEW"
        ) from error


def read_card(card: Path) -> dict[str, Any]:
    """languages (codes), licence ("" where not stated) and synthetic of a `card.json`.

    Raises `DataError` for a card that cannot be read.
    """
    advice = 'write for example {"languages": ["en"], "licence": "CC0-1.0", "synthetic": false}'
    text = _decode(_read_bytes(card), card)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{card} is not JSON ({error}): {advice}") from error
    if not isinstance(value, dict):
        raise DataError(f"{card} is not a JSON object: {advice}")
    known: dict[str, Any] = {"languages": [], "licence": "", "synthetic": False}
    for key, default in known.items():
        found = value.get(key)
        if found is None:
            continue
        texts = found if isinstance(found, list) else []
        if not isinstance(found, type(default)) or not all(isinstance(t, str) for t in texts):
            raise DataError(f"{card} has {key} = {json.dumps(found)[:80]}: {advice}")
        known[key] = found
    return known
