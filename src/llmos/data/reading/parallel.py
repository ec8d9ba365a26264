"""Parallel text: a document for each pair of a source and a target, with their languages."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, cast

from llmos.data.documents import Document
from llmos.data.reading.encodings import decode
from llmos.data.reading.formats import alignment, languages_of, partner
from llmos.data.reading.parts import Part, Problem, UnreadableError
from llmos.data.reading.streams import TOO_LONG, Lines, blocks, whole
from llmos.recipe import DataSection

if TYPE_CHECKING:
    import polib

DAMAGED = "a damaged catalogue"
FUZZY = "marked as fuzzy: a guess that nobody has checked"
OBSOLETE = "marked as obsolete"
UNEQUAL = "not as many lines as in the other file of the two: none of them can be trusted"
ONE_COLUMN = "less than two columns"

_CHARSET = re.compile(rb'^"Content-Type:[^"\n]*charset=([\w.:-]+)', re.MULTILINE)
_NAME_OF_LANGUAGE = re.compile(r"[a-z]{2,3}([_-][A-Z][A-Za-z]{1,3})?")


def pair(
    part: Part, place: str, number: int, source: str, target: str, languages: tuple[str, str]
) -> Document | Problem:
    """The document of a pair; a problem where one of them is blank."""
    for name, text in (("source", source), ("target", target)):
        if not text.strip():
            return Problem(f"{part.path} {place}", f"empty {name}")
    fields = {
        "source": source,
        "target": target,
        "source_language": languages[0],
        "target_language": languages[1],
    }
    return Document(f"{part.name}:{number}", f"{source}\n{target}", fields, source)


def read_columns(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """The first two columns of NAME.en-sw.tsv, in which every line is a pair."""
    languages = languages_of(PurePath(part.path).name)
    assert languages
    lines = Lines(part)
    for number, line in lines:
        place = f"line {number}"
        if line is None:
            yield Problem(f"{part.path} {place}", TOO_LONG)
        elif line.strip():
            columns = lines.text(line).removesuffix("\r").split("\t")
            if len(columns) < 2:
                yield Problem(f"{part.path} {place}", ONE_COLUMN)
            else:
                yield pair(part, place, number, columns[0], columns[1], languages)
    yield from lines.problems()


def read_aligned(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """The lines of NAME.en-sw.en with those of NAME.en-sw.sw."""
    found = alignment(PurePath(part.path).name)
    assert found
    languages = (found.source, found.target)
    other = replace(part, path=partner(part.path), end=os.path.getsize(partner(part.path)))
    if _count(part) != _count(other):
        raise UnreadableError(UNEQUAL)
    sides = Lines(part), Lines(other)
    for (number, source), (_, target) in zip(*sides, strict=True):
        place = f"line {number}"
        if source is None or target is None:
            yield Problem(f"{part.path} {place}", TOO_LONG)
        elif source.strip() or target.strip():
            source_text, target_text = sides[0].text(source), sides[1].text(target)
            yield pair(
                part,
                place,
                number,
                source_text.removesuffix("\r"),
                target_text.removesuffix("\r"),
                languages,
            )
    for side in sides:
        yield from side.problems()


def _count(part: Part) -> int:
    return sum(1 for _ in Lines(part))


def read_po(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """The checked translations of a gettext catalogue (.po)."""
    import polib

    content = whole(blocks(part.path))
    declared = _CHARSET.search(content)
    text, _ = decode(content, declared[1].decode() if declared else "")
    try:
        catalogue = polib.pofile(text, encoding="utf-8")
    except (OSError, ValueError, IndexError) as error:
        raise UnreadableError(DAMAGED) from error
    yield from _catalogue(part, catalogue)


def read_mo(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """The translations of a compiled gettext catalogue (.mo)."""
    import polib

    try:
        catalogue = polib.mofile(cast(str, whole(blocks(part.path))))  # takes the bytes too
    except (OSError, ValueError, IndexError, LookupError, struct.error) as error:
        raise UnreadableError(DAMAGED) from error
    yield from _catalogue(part, catalogue)


def _catalogue(part: Part, catalogue: polib.POFile | polib.MOFile) -> Iterator[Document | Problem]:
    """The entries; originals are English where nothing else is said, as gettext's manual asks."""
    stem = PurePath(part.path).name.partition(".")[0]
    stem = stem if _NAME_OF_LANGUAGE.fullmatch(stem) else ""
    source = catalogue.metadata.get("X-Source-Language") or "en"
    languages = (source, catalogue.metadata.get("Language") or stem)
    number = 0
    entries = cast("list[polib.POEntry | polib.MOEntry]", catalogue)
    for index, entry in enumerate(entries, start=1):
        place = f"entry {index}"
        if entry.obsolete or "fuzzy" in entry.flags:
            reason = OBSOLETE if entry.obsolete else FUZZY
            yield Problem(f"{part.path} {place}", reason)
            continue
        for original, translation in _forms(entry):
            number += 1
            yield pair(part, place, number, original, translation, languages)


def _forms(entry: polib.POEntry | polib.MOEntry) -> Iterator[tuple[str, str]]:
    """Singular and plural; of a language with several plurals the last, that of large numbers."""
    forms = entry.msgstr_plural
    if not forms:
        yield entry.msgid, entry.msgstr
        return
    last = max(forms)
    if last > 0:
        yield entry.msgid, forms[min(forms)]
    yield entry.msgid_plural, forms[last]
